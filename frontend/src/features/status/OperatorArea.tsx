import { useQuery, useQueryClient } from '@tanstack/react-query'
import { fetchStatus, isRefused, type ServerStatus } from '@/api/http'
import { useOperatorToken } from '@/api/operatorToken'
import { OperatorTokenForm } from '@/components/OperatorTokenForm'
import { Button } from '@/components/ui/Button'
import { Notice } from '@/components/ui/Notice'
import { useI18n } from '@/i18n/I18n'
import { Card, Facts } from '@/components/ui/Facts'
import { OperatorClips } from './OperatorClips'

/** What only the operator may see. */
export function OperatorArea() {
  const { t } = useI18n()
  const queries = useQueryClient()
  const { token, set: setToken } = useOperatorToken()
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
        <OperatorTokenForm
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
