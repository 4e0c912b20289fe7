import { useI18n } from '@/i18n/I18n'

interface HeldOutChoiceProps {
  signers: [name: string, clips: number][]
  chosen: ReadonlySet<string>
  onChange: (chosen: ReadonlySet<string>) => void
  everybodyOut: boolean
}

/** Who is kept out of training to judge the model. */
export function HeldOutChoice({ signers, chosen, onChange, everybodyOut }: HeldOutChoiceProps) {
  const { t } = useI18n()
  return (
    <fieldset>
      <legend className="font-medium">{t.training.heldOut.legend}</legend>
      <p className="mb-2 max-w-prose text-sm text-muted">{t.training.heldOut.hint}</p>
      {signers.length === 0 && <p className="text-muted">{t.training.heldOut.choose}</p>}
      <ul className="flex flex-wrap gap-2">
        {signers.map(([name, clips]) => (
          <li key={name}>
            <label className="flex min-h-11 items-center gap-2 rounded-xl border border-edge/60 px-3 has-checked:border-accent has-checked:bg-accent-soft">
              <input
                type="checkbox"
                className="size-4.5"
                checked={chosen.has(name)}
                disabled={name === ''}
                onChange={(event) => {
                  const next = new Set(chosen)
                  if (event.target.checked) next.add(name)
                  else next.delete(name)
                  onChange(next)
                }}
              />
              {`${name === '' ? t.training.heldOut.unnamed : name} (${clips})`}
            </label>
          </li>
        ))}
      </ul>
      {everybodyOut && (
        <p role="alert" className="mt-2 text-warn">
          {t.training.heldOut.everybody}
        </p>
      )}
    </fieldset>
  )
}
