import type { TrainingSession } from '@/api/training'
import { useI18n } from '@/i18n/I18n'
import type { Dictionary } from '@/i18n/en'

/** How far a session is, in words and as a bar. */
export function Progress({ session }: { session: TrainingSession }) {
  const { t } = useI18n()
  const phase =
    session.status !== 'running' || session.phase === null || session.phase === 'training'
      ? null
      : t.training.phase[session.phase]
  const left = session.eta_s === null || session.phase !== 'training' ? null : describeTimeLeft(session.eta_s, t)
  const words = [t.training.progress(session.step, session.steps), left, phase].filter((part) => part != null)
  return (
    <div>
      <ProgressBar session={session} />
      <p className="mt-2 tabular-nums">{words.join(' · ')}</p>
    </div>
  )
}

export function ProgressBar({ session }: { session: TrainingSession }) {
  const { t } = useI18n()
  return (
    <div
      role="progressbar"
      aria-label={t.training.progress(session.step, session.steps)}
      aria-valuemin={0}
      aria-valuemax={session.steps}
      aria-valuenow={session.step}
      className="h-2 overflow-hidden rounded-full bg-sunken"
    >
      <div
        className="h-full rounded-full bg-accent transition-[width] duration-500"
        style={{ width: `${(100 * session.step) / session.steps}%` }}
      />
    </div>
  )
}

/** "about 3 minutes left"; nobody needs seconds. */
export function describeTimeLeft(seconds: number, t: Dictionary): string {
  const minutes = Math.round(seconds / 60)
  if (minutes < 1) return t.training.eta.soon
  if (minutes < 90) return t.training.eta.minutes(minutes)
  return t.training.eta.hours(Math.floor(minutes / 60), minutes % 60)
}
