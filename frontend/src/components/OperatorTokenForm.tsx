import { useId, useState } from 'react'
import { Button } from '@/components/ui/Button'
import { useI18n } from '@/i18n/I18n'

interface OperatorTokenFormProps {
  busy: boolean
  /** What the button says, "Show" by default. */
  button?: string
  onToken: (token: string) => void
}

/** Asks for the operator's token; what is done with it is the caller's. */
export function OperatorTokenForm({ busy, button, onToken }: OperatorTokenFormProps) {
  const { t } = useI18n()
  const id = useId()
  const [entered, setEntered] = useState('')
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (entered.trim()) onToken(entered.trim())
      }}
    >
      <label htmlFor={id} className="font-medium">
        {t.status.token}
      </label>
      <div className="mt-1 flex gap-2">
        <input
          id={id}
          type="password"
          autoComplete="off"
          spellCheck={false}
          aria-describedby={`${id}-hint`}
          value={entered}
          onChange={(event) => {
            setEntered(event.target.value)
          }}
          className="min-h-11 min-w-0 flex-1 rounded-xl border border-edge bg-surface px-4 sm:max-w-sm"
        />
        <Button type="submit" variant="primary" disabled={busy}>
          {button ?? t.status.tokenButton}
        </Button>
      </div>
      <p id={`${id}-hint`} className="mt-1.5 text-sm text-muted">
        {t.status.tokenHint}
      </p>
    </form>
  )
}
