import type { RemoteHealth } from '@/api/http'
import { useI18n } from '@/i18n/I18n'
import { Card, Facts } from '@/components/ui/Facts'

/** The inference server that is asked before the model in the server's own process. */
export function RemoteCard({ remote }: { remote: RemoteHealth }) {
  const { t } = useI18n()
  return (
    <Card title={t.status.remote}>
      <Facts
        facts={[
          { name: t.status.remoteState, value: <State remote={remote} /> },
          { name: t.status.remoteAddress, value: `${remote.url} (${remote.protocol}, ${remote.model})` },
          { name: t.status.remoteAnswered, value: t.status.windows(remote.answered) },
          { name: t.status.remoteFallbacks, value: t.status.windows(remote.fallbacks) },
          {
            name: t.status.remoteFailures,
            value: t.status.remoteFailed(remote.failures, remote.retries, remote.openings),
          },
          { name: t.status.remoteLast, value: remote.last_failure || t.status.remoteNone },
        ]}
      />
    </Card>
  )
}

function State({ remote }: { remote: RemoteHealth }) {
  const { t } = useI18n()
  if (remote.state === 'closed') return t.status.remoteUsed
  const text = remote.state === 'open' ? t.status.remoteUnused : t.status.remoteReturning
  return (
    <span className="text-warn">
      {text}: {remote.reason}
    </span>
  )
}
