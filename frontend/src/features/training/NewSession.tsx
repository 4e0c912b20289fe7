import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useId, useState, type ReactNode } from 'react'
import { useNavigate } from 'react-router'
import { fetchDataSets, startTraining, type TrainingOptions } from '@/api/training'
import { Button } from '@/components/ui/Button'
import { Card } from '@/components/ui/Facts'
import { useI18n } from '@/i18n/I18n'
import { describeChoice } from './choice'
import { DataSetChoice } from './DataSetChoice'
import { HeldOutChoice } from './HeldOutChoice'
import { FailureNotice } from './ServerWords'

const FIELD = 'mt-1 min-h-11 w-full rounded-xl border border-edge bg-surface px-3'
const DEFAULT_LANGUAGE = 'ase'
const DEFAULT_RECIPE = 'starter'

/** Asks what to train, and starts it. */
export function NewSession({ token, options }: { token: string; options: TrainingOptions }) {
  const { t } = useI18n()
  const navigate = useNavigate()
  const queries = useQueryClient()
  const data = useQuery({ queryKey: ['training', 'datasets'], queryFn: () => fetchDataSets(token) })
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const [heldOut, setHeldOut] = useState<ReadonlySet<string>>(new Set())
  const [recipe, setRecipe] = useState(
    options.recipes.some(({ name }) => name === DEFAULT_RECIPE) ? DEFAULT_RECIPE : (options.recipes[0]?.name ?? ''),
  )
  const [language, setLanguage] = useState<string | null>(null)
  const [steps, setSteps] = useState('')
  const [seed, setSeed] = useState('0')
  const start = useMutation({
    mutationFn: () =>
      startTraining(
        {
          datasets: [...chosen],
          recipe,
          language: language ?? languages[0] ?? DEFAULT_LANGUAGE,
          held_out: judges,
          steps: steps === '' ? null : Number(steps),
          seed: Number(seed),
        },
        token,
      ),
    onSuccess: async (session) => {
      await queries.invalidateQueries({ queryKey: ['training', 'sessions'] })
      await navigate(`/training/${session.id}`)
    },
  })

  const choice = describeChoice(data.data?.datasets ?? [], chosen)
  const judges = choice.signers.map(([name]) => name).filter((name) => heldOut.has(name))
  const everybodyOut = choice.signers.length > 0 && judges.length === choice.signers.length
  const languages = choice.languages.length > 0 ? choice.languages : Object.keys(t.vocabulary.languages)
  const recipeSteps = options.recipes.find(({ name }) => name === recipe)?.steps ?? 0
  return (
    <Card title={t.training.newTitle}>
      <form
        className="flex flex-col gap-6"
        onSubmit={(event) => {
          event.preventDefault()
          start.mutate()
        }}
      >
        <DataSetChoice
          list={data}
          chosen={chosen}
          onChange={setChosen}
          onAgain={() => void data.refetch()}
          folder={options.datasets_dir}
        />
        <HeldOutChoice signers={choice.signers} chosen={heldOut} onChange={setHeldOut} everybodyOut={everybodyOut} />
        <div className="grid gap-6 sm:grid-cols-2">
          <Field label={t.training.recipe.label} hint={t.training.recipe.about[recipe]}>
            {(ids) => (
              <select
                {...ids}
                className={FIELD}
                value={recipe}
                onChange={(event) => {
                  setRecipe(event.target.value)
                }}
              >
                {options.recipes.map(({ name, steps: own }) => (
                  <option key={name} value={name}>
                    {t.training.recipe.option(name, own)}
                  </option>
                ))}
              </select>
            )}
          </Field>
          <Field label={t.training.language.label} hint={t.training.language.hint}>
            {(ids) => (
              <select
                {...ids}
                className={FIELD}
                value={language !== null && languages.includes(language) ? language : languages[0]}
                onChange={(event) => {
                  setLanguage(event.target.value)
                }}
              >
                {languages.map((code) => (
                  <option key={code} value={code}>
                    {(t.vocabulary.languages as Record<string, string>)[code] ?? code}
                  </option>
                ))}
              </select>
            )}
          </Field>
        </div>
        <details className="rounded-xl bg-sunken px-4 py-1">
          <summary className="min-h-11 content-center font-medium">{t.training.advanced.title}</summary>
          <div className="grid gap-6 pt-1 pb-4 sm:grid-cols-2">
            <Field label={t.training.advanced.steps} hint={t.training.advanced.stepsHint(recipeSteps)}>
              {(ids) => <NumberInput {...ids} min={1} max={1_000_000} value={steps} onValue={setSteps} />}
            </Field>
            <Field label={t.training.advanced.seed} hint={t.training.advanced.seedHint}>
              {(ids) => <NumberInput {...ids} min={0} max={2 ** 31 - 1} required value={seed} onValue={setSeed} />}
            </Field>
          </div>
        </details>
        {start.isError && <FailureNotice title={t.training.startFailed} error={start.error} />}
        <div className="flex flex-wrap items-center gap-x-5 gap-y-3">
          <Button
            type="submit"
            variant="primary"
            size="lg"
            disabled={chosen.size === 0 || everybodyOut || start.isPending || options.missing.length > 0}
          >
            {t.training.start}
          </Button>
          {chosen.size > 0 && (
            <p className="text-muted">
              {t.training.summary(choice.signs.size, choice.signers.length - judges.length, judges.length)}
            </p>
          )}
        </div>
      </form>
    </Card>
  )
}

interface FieldIds {
  id: string
  'aria-describedby': string
}

/** A label, its control and a hint below it. */
function Field(props: { label: string; hint: string | undefined; children: (ids: FieldIds) => ReactNode }) {
  const id = useId()
  return (
    <div>
      <label htmlFor={id} className="font-medium">
        {props.label}
      </label>
      {props.children({ id, 'aria-describedby': `${id}-hint` })}
      <p id={`${id}-hint`} className="mt-1.5 text-sm text-muted">
        {props.hint}
      </p>
    </div>
  )
}

interface NumberInputProps extends FieldIds {
  min: number
  max: number
  required?: boolean
  value: string
  onValue: (value: string) => void
}

function NumberInput({ value, onValue, ...rest }: NumberInputProps) {
  return (
    <input
      {...rest}
      type="number"
      step={1}
      inputMode="numeric"
      className={FIELD}
      value={value}
      onChange={(event) => {
        onValue(event.target.value)
      }}
    />
  )
}
