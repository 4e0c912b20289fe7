import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useId, useState } from 'react'
import { fetchStatus, HttpError, type ServerStatus } from '@/api/http'
import { Button } from '@/components/ui/Button'
import { Notice } from '@/components/ui/Notice'
import { useI18n } from '@/i18n/I18n'
import { Card, Facts } from './Facts'
import { OperatorClips } from './OperatorClips'

/** What only the operator may see. The token lives in this component's state and nowhere else. */
export function OperatorArea() {
  const { t } = useI18n()
  const queries = useQueryClient()
  const [token, setToken] = useState<string | null>(null)
  const status = useQuery({
    queryKey: ['operator', 'status'],
    queryFn: () => fetchStatus(token ?? ''),
    enabled: token !== null,
    retry: false,
  })

  if (token === null || !status.data) {
    return (
      <Card title={t.status.operator}>
        <p className="mb-4 text-muted">{t.status.operatorLead}</p>
        <TokenForm
          busy={status.isFetching}
          onToken={(entered) => {
            queries.removeQueries({ queryKey: ['operator'] })
            setToken(entered)
          }}
        />
        {token !== null && status.isError && (
          <div className="mt-4">
            <Notice tone="danger" title={isRefused(status.error) ? t.status.tokenWrong : t.status.unreachable} />
          </div>
        )}
      </Card>
    )
  }
  return (
    <>
      <Card title={t.status.server}>
        <StatusFacts status={status.data} />
        <Button
          className="mt-5"
          onClick={() => {
            setToken(null)
            queries.removeQueries({ queryKey: ['operator'] })
          }}
        >
          {t.status.tokenForget}
        </Button>
      </Card>
      <OperatorClips token={token} />
    </>
  )
}

function isRefused(error: Error): boolean {
  return error instanceof HttpError && error.status === 401
}

function TokenForm({ busy, onToken }: { busy: boolean; onToken: (token: string) => void }) {
  const { t } = useI18n()
  const id = useId()
  const [entered, setEntered] = useState('')
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (entered.trim()) onToken(entered.trim())
      }}
    >
      <label htmlFor={id} className="font-medium">
        {t.status.token}
      </label>
      <div className="mt-1 flex gap-2">
        <input
          id={id}
          type="password"
          autoComplete="off"
          spellCheck={false}
          aria-describedby={`${id}-hint`}
          value={entered}
          onChange={(event) => {
            setEntered(event.target.value)
          }}
          className="min-h-11 min-w-0 flex-1 rounded-xl border border-edge bg-surface px-4 sm:max-w-sm"
        />
        <Button type="submit" variant="primary" disabled={busy}>
          {t.status.tokenButton}
        </Button>
      </div>
      <p id={`${id}-hint`} className="mt-1.5 text-sm text-muted">
        {t.status.tokenHint}
      </p>
    </form>
  )
}

function StatusFacts({ status }: { status: ServerStatus }) {
  const { t, date } = useI18n()
  const minutes = Math.floor(status.uptime_s / 60)
  const loaded = status.models_loaded.map(
    (model) => `${model.version} (${model.backend}, ${model.sha256.slice(0, 12)}, ${date(model.loaded_at)})`,
  )
  return (
    <Facts
      facts={[
        { name: t.status.serverVersion, value: status.version },
        { name: t.status.python, value: status.python },
        { name: t.status.uptime, value: t.status.uptimeOf(Math.floor(minutes / 60), minutes % 60) },
        { name: t.status.connections, value: status.connections },
        { name: t.status.worker, value: t.status.workerOf(status.worker + 1, status.workers) },
        {
          name: t.status.sessionStore,
          value: status.session_store_reachable ? (
            t.status.sessionStores[status.session_store]
          ) : (
            <span className="text-warn">{t.status.sessionStoreAway}</span>
          ),
        },
        { name: t.status.sessions, value: t.status.sessionsOf(status.sessions_open, status.max_sessions) },
        {
          name: t.status.loaded,
          value: (
            <ul>
              {loaded.map((line) => (
                <li key={line}>{line}</li>
              ))}
            </ul>
          ),
        },
      ]}
    />
  )
}
