import { Ban, CircleCheck, CircleDashed, CircleX, LoaderCircle, Unplug } from 'lucide-react'
import type { TrainingSession } from '@/api/training'
import { useI18n } from '@/i18n/I18n'

const LOOKS = {
  queued: { Icon: CircleDashed, look: 'bg-sunken' },
  running: { Icon: LoaderCircle, look: 'bg-accent-soft' },
  finished: { Icon: CircleCheck, look: 'bg-accent-soft' },
  failed: { Icon: CircleX, look: 'bg-danger-soft text-danger' },
  cancelled: { Icon: Ban, look: 'bg-sunken' },
  lost: { Icon: Unplug, look: 'bg-warn-soft text-warn' },
}

/** Where a training stands, by word, shape and colour. */
export function StatusPill({ session }: { session: TrainingSession }) {
  const { t } = useI18n()
  const { Icon, look } = LOOKS[session.status]
  const spin = session.status === 'running' ? 'animate-spin [animation-duration:2.5s]' : ''
  return (
    <span className={`inline-flex items-center gap-1.5 rounded-full px-3 py-1 text-sm font-medium ${look}`}>
      <Icon aria-hidden size={16} className={spin} />
      {session.cancelling ? t.training.status.cancelling : t.training.status[session.status]}
    </span>
  )
}
