import { useI18n } from '@/i18n/I18n'
import { Notice } from '@/components/ui/Notice'
import { useTranslate } from './ControllerContext'
import { needsAttention } from './stages'

/** Says that the connection is lost or the server full while the preview goes on, and what can be expected. */
export function ConnectionNotice() {
  const { t } = useI18n()
  const connection = useTranslate((state) => state.connection)
  const retryAfterS = useTranslate((state) => state.retryAfterS)
  const covered = useTranslate(needsAttention)
  const slow = useTranslate((state) => Object.values(state.stages).find((s) => s.state === 'ok' && s.problem)?.problem)
  if (covered) return null
  if (connection === 'busy') return <Notice tone="warn" title={t.connection.busy(retryAfterS)} />
  if (connection === 'reconnecting') return <Notice tone="warn" title={t.connection.reconnecting} />
  if (!slow) return null
  return (
    <Notice tone="info" title={t.problem[slow].what}>
      <p>{t.problem[slow].todo}</p>
    </Notice>
  )
}
