import { useQuery } from '@tanstack/react-query'
import { ChevronRight } from 'lucide-react'
import { Link } from 'react-router'
import { fetchTrainingSessions, type TrainingSession } from '@/api/training'
import { Card } from '@/components/ui/Facts'
import { Notice } from '@/components/ui/Notice'
import { useI18n } from '@/i18n/I18n'
import { ProgressBar } from './Progress'
import { StatusPill } from './StatusPill'

const REFRESH_MS = 3000

/** All trainings, newest first. */
export function SessionList({ token }: { token: string }) {
  const { t } = useI18n()
  const list = useQuery({
    queryKey: ['training', 'sessions'],
    queryFn: () => fetchTrainingSessions(token),
    refetchInterval: REFRESH_MS,
  })
  return (
    <Card title={t.training.sessionsTitle}>
      {list.isPending && <p className="text-muted">{t.common.loading}</p>}
      {list.isError && <Notice tone="warn" title={t.training.listFailed} />}
      {list.data?.length === 0 && <p className="text-muted">{t.training.noSessions}</p>}
      <ul className="-mx-3 divide-y divide-line">
        {list.data?.map((session) => (
          <SessionRow key={session.id} session={session} />
        ))}
      </ul>
    </Card>
  )
}

function SessionRow({ session }: { session: TrainingSession }) {
  const { t, date, percent } = useI18n()
  const accuracy = session.result?.accuracy ?? null
  return (
    <li>
      <Link
        to={`/training/${session.id}`}
        className="grid grid-cols-[minmax(0,1fr)_auto] items-center gap-x-4 gap-y-1.5 rounded-xl px-3 py-3 hover:bg-sunken sm:grid-cols-[9rem_minmax(0,1fr)_auto_auto]"
      >
        <span>
          <StatusPill session={session} />
        </span>
        <span className="min-w-0 max-sm:order-3 max-sm:col-span-2">
          <span className="block truncate font-medium">
            {session.request.recipe}
            <span className="font-normal text-muted"> · {session.request.datasets.join(', ')}</span>
          </span>
          {session.status === 'running' && (
            <span className="mt-1.5 block">
              <ProgressBar session={session} />
            </span>
          )}
        </span>
        <span className="text-right text-sm text-muted max-sm:order-2">
          {accuracy === null ? '' : `${t.correct.percent(percent(accuracy))} · `}
          {date(session.created_at)}
        </span>
        <ChevronRight aria-hidden size={18} className="text-muted max-sm:hidden" />
      </Link>
    </li>
  )
}
