import { X } from 'lucide-react'
import { useEffect, useId, useRef, type ReactNode } from 'react'
import { useI18n } from '@/i18n/I18n'
import { IconButton } from './Button'

interface DialogProps {
  open: boolean
  title: string
  onClose: () => void
  children: ReactNode
}

/**
 * A modal on the browser's own <dialog>: it traps focus, closes on Escape and needs no injected styles, which the
 * server's content security policy would refuse.
 */
export function Dialog({ open, title, onClose, children }: DialogProps) {
  const { t } = useI18n()
  const ref = useRef<HTMLDialogElement>(null)
  const titleId = useId()

  useEffect(() => {
    const dialog = ref.current
    if (!dialog || !open || dialog.open) return
    dialog.showModal()
    // The browser would focus the close button; React's autoFocus comes too early to be noticed by showModal.
    dialog.querySelector<HTMLElement>('[data-autofocus]')?.focus()
    return () => {
      dialog.close()
    }
  }, [open])

  if (!open) return null
  return (
    // oxlint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-noninteractive-element-interactions -- a click on the backdrop closes; the keyboard has Escape
    <dialog
      ref={ref}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
      onClick={(event) => {
        if (event.target === ref.current) onClose()
      }}
      className="m-auto max-h-[min(44rem,90dvh)] w-[min(34rem,calc(100vw-2rem))] overflow-auto rounded-2xl bg-surface p-0 text-ink shadow-card"
    >
      <div className="p-5 sm:p-6">
        <div className="mb-4 flex items-start justify-between gap-4">
          <h2 id={titleId} className="pt-1.5 text-xl font-semibold">
            {title}
          </h2>
          <IconButton label={t.common.close} onClick={onClose} className="-mt-1 -mr-2">
            <X aria-hidden size={20} />
          </IconButton>
        </div>
        {children}
      </div>
    </dialog>
  )
}
