import { useState } from 'react'
import { Dialog } from '@/components/ui/Dialog'
import { useI18n } from '@/i18n/I18n'
import { matchSigns, textOfSign, useSigns } from '@/vocabulary/signs'

interface SignPickerProps {
  open: boolean
  onClose: () => void
  onPick: (label: string) => void
}

/** The whole vocabulary to choose from, when the right sign is not among the five. */
export function SignPicker({ open, onClose, onPick }: SignPickerProps) {
  const { t } = useI18n()
  return (
    <Dialog open={open} title={t.correct.anotherTitle} onClose={onClose}>
      <Picker onPick={onPick} />
    </Dialog>
  )
}

function Picker({ onPick }: { onPick: (label: string) => void }) {
  const { t, locale } = useI18n()
  const { data } = useSigns()
  const [query, setQuery] = useState('')
  const found = matchSigns(data?.signs ?? [], query, locale)
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (found[0]) onPick(found[0].label)
      }}
    >
      <input
        type="search"
        data-autofocus
        aria-label={t.vocabulary.search}
        placeholder={t.vocabulary.search}
        value={query}
        onChange={(event) => {
          setQuery(event.target.value)
        }}
        className="min-h-12 w-full rounded-xl border border-edge bg-surface px-4"
      />
      <ul className="mt-3 grid h-72 auto-rows-min grid-cols-1 gap-1 overflow-y-auto sm:grid-cols-2">
        {found.map((sign) => (
          <li key={sign.label}>
            <button
              type="button"
              onClick={() => {
                onPick(sign.label)
              }}
              className="min-h-11 w-full rounded-lg px-3 text-left hover:bg-sunken"
            >
              {textOfSign(sign, locale)}
            </button>
          </li>
        ))}
        {found.length === 0 && <li className="px-3 py-2 text-muted">{t.vocabulary.none(query)}</li>}
      </ul>
    </form>
  )
}
