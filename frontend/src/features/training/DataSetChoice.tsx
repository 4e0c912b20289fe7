import type { UseQueryResult } from '@tanstack/react-query'
import { useId } from 'react'
import type { DataSet, DataSetList } from '@/api/training'
import { Button } from '@/components/ui/Button'
import { Notice } from '@/components/ui/Notice'
import { useI18n } from '@/i18n/I18n'
import { ServerWords } from './ServerWords'

interface DataSetChoiceProps {
  list: UseQueryResult<DataSetList>
  chosen: ReadonlySet<string>
  onChange: (chosen: ReadonlySet<string>) => void
  onAgain: () => void
  /** Where the operator puts data sets. */
  folder: string
}

/** The data sets on the server, with what is in each. */
export function DataSetChoice({ list, chosen, onChange, onAgain, folder }: DataSetChoiceProps) {
  const { t } = useI18n()
  const usable = list.data?.datasets.filter((set) => set.problem === null) ?? []
  const allChosen = usable.length > 0 && usable.every((set) => chosen.has(set.name))
  return (
    <fieldset>
      <legend className="mb-2 font-medium">{t.training.data.legend}</legend>
      {list.isPending && <p className="text-muted">{t.common.loading}</p>}
      {list.isError && <Notice tone="warn" title={t.training.listFailed} />}
      {list.data?.datasets.length === 0 && (
        <div className="rounded-xl bg-sunken p-4">
          <p className="font-medium">{t.training.data.none}</p>
          <p className="mt-1 text-muted">{t.training.data.noneHow}</p>
          <p className="mt-1 font-mono text-sm break-all">{folder}</p>
        </div>
      )}
      <ul className="max-h-80 divide-y divide-line overflow-y-auto rounded-xl border border-line empty:hidden">
        {list.data?.datasets.map((set) => (
          <DataSetRow
            key={set.name}
            set={set}
            checked={chosen.has(set.name)}
            onToggle={(checked) => {
              const next = new Set(chosen)
              if (checked) next.add(set.name)
              else next.delete(set.name)
              onChange(next)
            }}
          />
        ))}
      </ul>
      <div className="mt-2 flex flex-wrap gap-2">
        {usable.length > 1 && (
          <Button
            onClick={() => {
              onChange(new Set(allChosen ? [] : usable.map((set) => set.name)))
            }}
          >
            {allChosen ? t.training.data.noneChosen : t.training.data.all}
          </Button>
        )}
        <Button variant="quiet" onClick={onAgain} disabled={list.isFetching}>
          {t.training.data.again}
        </Button>
      </div>
      {usable.length > 0 && (
        <p className="mt-1 text-sm break-all text-muted">
          {t.training.data.folder} {folder}
        </p>
      )}
    </fieldset>
  )
}

function DataSetRow(props: { set: DataSet; checked: boolean; onToggle: (checked: boolean) => void }) {
  const { t } = useI18n()
  const id = useId()
  const { set } = props
  return (
    <li className="flex items-start gap-3 px-4 py-2.5">
      <input
        id={id}
        type="checkbox"
        className="mt-0.5 size-5 shrink-0"
        checked={props.checked}
        disabled={set.problem !== null}
        aria-describedby={`${id}-about`}
        onChange={(event) => {
          props.onToggle(event.target.checked)
        }}
      />
      <div className="flex min-w-0 flex-1 flex-wrap justify-between gap-x-4">
        <label htmlFor={id} className="font-medium break-all">
          {set.name}
        </label>
        <span id={`${id}-about`} className={`text-sm ${set.problem === null ? 'text-muted' : 'text-warn'}`}>
          {set.problem === null
            ? t.training.data.about(set.num_clips, Object.keys(set.signers).length, Object.keys(set.signs).length)
            : t.training.data.unusable}
        </span>
        {set.problem !== null && (
          <div className="w-full text-muted">
            <ServerWords text={set.problem} />
          </div>
        )}
      </div>
    </li>
  )
}
