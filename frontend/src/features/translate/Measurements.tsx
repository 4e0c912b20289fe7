import { useI18n } from '@/i18n/I18n'
import { useTranslate } from './ControllerContext'

/** What this device really does, measured: frames a second, and the time from the end of a sign to its text. */
export function Measurements() {
  const { t, decimal } = useI18n()
  const fps = useTranslate((state) => (state.captureFps === null ? null : Math.round(state.captureFps)))
  const delayMs = useTranslate((state) => state.delayMs)
  const dropped = useTranslate((state) => state.framesDropped)
  const running = useTranslate((state) => state.running)
  if (!running && fps === null) return null
  const parts = [
    fps === null ? t.measured.measuring : t.measured.fps(decimal(fps, 0)),
    delayMs === null ? null : t.measured.delay(decimal(delayMs / 1000, 1)),
    dropped > 0 ? t.measured.dropped(dropped) : null,
  ]
  return (
    <p aria-label={t.measured.title} className="text-sm text-muted tabular-nums">
      {parts.filter(Boolean).join(' · ')}
    </p>
  )
}
