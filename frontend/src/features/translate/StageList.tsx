import { Check, Circle, LoaderCircle, X } from 'lucide-react'
import { useI18n } from '@/i18n/I18n'
import { useTranslate } from './ControllerContext'
import type { Stage, StageName } from './model'
import { isAboutFile, neededStages } from './stages'

const LOOKS: Record<Stage['state'], { Icon: typeof Check; className: string }> = {
  pending: { Icon: Circle, className: 'text-edge' },
  working: { Icon: LoaderCircle, className: 'text-accent animate-spin' },
  ok: { Icon: Check, className: 'text-accent' },
  failed: { Icon: X, className: 'text-danger' },
}

/** Camera, detection and server, each with its state in a shape and in words. */
export function StageList() {
  const names = useTranslate((state) => neededStages(state).join(' ')).split(' ') as StageName[]
  return (
    <ul className="flex flex-col gap-2.5">
      {names.map((name) => (
        <StageRow key={name} name={name} />
      ))}
    </ul>
  )
}

function StageRow({ name }: { name: StageName }) {
  const { t } = useI18n()
  const stage = useTranslate((state) => state.stages[name])
  const isFile = useTranslate(isAboutFile)
  const isThisFile = isFile && name === 'camera'
  const { Icon, className } = LOOKS[stage.state]
  return (
    <li className="flex items-center gap-3">
      <Icon aria-hidden size={20} strokeWidth={2.5} className={`shrink-0 ${className}`} />
      <span className="font-medium">{isThisFile ? t.start.stages.file : t.start.stages[name]}</span>
      <span className="text-muted">
        {t.start.stageState[isThisFile && stage.state === 'failed' ? 'refused' : stage.state]}
      </span>
    </li>
  )
}
