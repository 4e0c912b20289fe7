import { useI18n } from '@/i18n/I18n'
import { Notice } from '@/components/ui/Notice'
import { useTranslate } from './ControllerContext'
import { needsAttention } from './stages'

/** Says what is wrong while the preview goes on: the connection, what the server finds wrong with the stream, slow detection. */
export function ConnectionNotice() {
  const { t } = useI18n()
  const connection = useTranslate((state) => state.connection)
  const retryAfterS = useTranslate((state) => state.retryAfterS)
  const trouble = useTranslate((state) => state.trouble)
  const covered = useTranslate(needsAttention)
  const slow = useTranslate((state) => Object.values(state.stages).find((s) => s.state === 'ok' && s.problem)?.problem)
  if (covered) return null
  if (connection === 'busy') return <Notice tone="warn" title={t.connection.busy(retryAfterS)} />
  if (connection === 'reconnecting') return <Notice tone="warn" title={t.connection.reconnecting} />
  if (trouble !== null) {
    return (
      <Notice tone="warn" title={t.trouble[trouble].what}>
        <p>{t.trouble[trouble].todo}</p>
      </Notice>
    )
  }
  if (!slow) return null
  return (
    <Notice tone="info" title={t.problem[slow].what}>
      <p>{t.problem[slow].todo}</p>
    </Notice>
  )
}
