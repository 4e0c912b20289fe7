import { CircleAlert, Info } from 'lucide-react'
import type { ReactNode } from 'react'

const TONES = {
  info: { box: 'bg-accent-soft', icon: 'text-accent', Icon: Info },
  warn: { box: 'bg-warn-soft', icon: 'text-warn', Icon: CircleAlert },
  danger: { box: 'bg-danger-soft', icon: 'text-danger', Icon: CircleAlert },
}

interface NoticeProps {
  tone: keyof typeof TONES
  title: string
  children?: ReactNode
}

export function Notice({ tone, title, children }: NoticeProps) {
  const { box, icon, Icon } = TONES[tone]
  return (
    <div className={`flex gap-3 rounded-xl p-4 ${box}`}>
      <Icon aria-hidden size={20} className={`mt-0.5 shrink-0 ${icon}`} />
      <div className="min-w-0 flex-1">
        <p className="font-semibold">{title}</p>
        {children}
      </div>
    </div>
  )
}
