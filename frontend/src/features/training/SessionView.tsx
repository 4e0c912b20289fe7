import { ArrowLeft } from 'lucide-react'
import { lazy, Suspense } from 'react'
import { Link } from 'react-router'
import type { CurvePoint, TrainingOptions, TrainingSession } from '@/api/training'
import { Card, Facts } from '@/components/ui/Facts'
import { Notice } from '@/components/ui/Notice'
import { useI18n } from '@/i18n/I18n'
import { MissingPackages } from './MissingPackages'
import { Progress } from './Progress'
import { SessionActions } from './SessionActions'
import { SessionResult } from './SessionResult'
import { StatusPill } from './StatusPill'
import { useTrainingWatch } from './useTrainingWatch'
import { ServerWords } from './ServerWords'

/** The drawing library comes with the first curve that somebody looks at. */
const Curves = lazy(async () => ({ default: (await import('./Curves')).Curves }))

interface SessionViewProps {
  token: string
  sessionId: string
  options: TrainingOptions
}

/** One training: how far it is, its curves, and what came out. */
export function SessionView({ token, sessionId, options }: SessionViewProps) {
  const { t } = useI18n()
  const { session, points, connection, again } = useTrainingWatch(sessionId, token)
  return (
    <>
      <p className="-mb-2">
        <Link to="/training" className="-mx-3 inline-flex min-h-11 items-center gap-2 rounded-xl px-3 hover:bg-sunken">
          <ArrowLeft aria-hidden size={18} />
          {t.training.back}
        </Link>
      </p>
      {connection === 'gone' && <Notice tone="warn" title={t.training.connection.gone} />}
      {connection === 'reconnecting' && <Notice tone="warn" title={t.training.connection.reconnecting} />}
      {session === null ? (
        connection === 'connecting' && <p className="text-muted">{t.training.connection.connecting}</p>
      ) : (
        <>
          {session.status !== 'finished' && <MissingPackages options={options} />}
          <State session={session} token={token} options={options} onResumed={again} />
          {session.result !== null && <SessionResult session={session} result={session.result} token={token} />}
          <CurvesCard points={points} steps={session.steps} />
          <Asked session={session} />
        </>
      )}
    </>
  )
}

interface StateProps {
  session: TrainingSession
  token: string
  options: TrainingOptions
  onResumed: () => void
}

function State({ session, token, options, onResumed }: StateProps) {
  const { t } = useI18n()
  return (
    <section className="rounded-2xl bg-surface p-5 shadow-card sm:p-6" aria-labelledby="session-name">
      <div className="mb-4 flex flex-wrap items-center gap-x-4 gap-y-2">
        <h2 id="session-name" className="text-xl font-semibold">
          {session.request.recipe}
        </h2>
        <span role="status">
          <StatusPill session={session} />
        </span>
      </div>
      {session.status !== 'queued' && session.status !== 'finished' && <Progress session={session} />}
      {session.status === 'queued' && (
        <p className="text-muted">{session.message || t.training.waiting[options.runner]}</p>
      )}
      {session.resumed_from !== null && (
        <p className="text-sm text-muted">{t.training.resumedFrom(session.resumed_from)}</p>
      )}
      <Ending session={session} />
      <SessionActions session={session} token={token} onResumed={onResumed} />
    </section>
  )
}

/** Why it ended without a model, and what to do. */
function Ending({ session }: { session: TrainingSession }) {
  const { t } = useI18n()
  const { status } = session
  if (status !== 'failed' && status !== 'lost' && status !== 'cancelled') return null
  const tone = { failed: 'danger', lost: 'warn', cancelled: 'info' } as const
  const how = {
    failed: t.training.ended.failedHow,
    lost: t.training.ended.lostHow,
    cancelled: t.training.ended.cancelledHow,
  }
  return (
    <div className="mt-4">
      <Notice tone={tone[status]} title={t.training.ended[status]}>
        {session.message && <ServerWords text={session.message} />}
        <p className="mt-1">{how[status]}</p>
      </Notice>
    </div>
  )
}

function CurvesCard({ points, steps }: { points: CurvePoint[]; steps: number }) {
  const { t, decimal, percent } = useI18n()
  const last = points.at(-1)
  const judged = points.findLast((point) => point.val_accuracy !== null)?.val_accuracy ?? null
  return (
    <Card title={t.training.curves.title}>
      {last === undefined ? (
        <p className="text-muted">{t.training.curves.none}</p>
      ) : (
        <>
          <p className="mb-3 tabular-nums">
            {t.training.curves.now(decimal(last.loss, 3), last.step)}
            {judged !== null && `, ${t.training.curves.nowAccuracy(percent(judged))}`}
          </p>
          <Suspense fallback={<div className="h-64" />}>
            <Curves points={points} steps={steps} />
          </Suspense>
        </>
      )}
    </Card>
  )
}

function Asked({ session }: { session: TrainingSession }) {
  const { t, date } = useI18n()
  const { request } = session
  const heldOut = request.held_out ?? []
  const language = request.language ?? ''
  return (
    <Card title={t.training.facts.title}>
      <Facts
        facts={[
          { name: t.training.facts.recordings, value: request.datasets.join(', ') },
          { name: t.training.facts.recipe, value: t.training.recipe.option(request.recipe ?? '', session.steps) },
          { name: t.training.facts.heldOut, value: heldOut.length > 0 ? heldOut.join(', ') : t.training.facts.nobody },
          {
            name: t.training.facts.language,
            value: (t.vocabulary.languages as Record<string, string>)[language] ?? language,
          },
          { name: t.training.facts.seed, value: request.seed ?? 0 },
          { name: t.training.facts.began, value: date(session.created_at) },
          { name: t.training.facts.attempt, value: session.attempt },
        ]}
      />
    </Card>
  )
}
