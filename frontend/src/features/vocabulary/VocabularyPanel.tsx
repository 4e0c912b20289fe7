import { useState } from 'react'
import { useI18n } from '@/i18n/I18n'
import type { SignInfo } from '@/api/http'
import { languageNames, matchSigns, textOfSign, useSigns } from '@/vocabulary/signs'

/** What the server can recognise, in the interface's language, searchable; signs known from one person are marked. */
export function VocabularyPanel() {
  const { t, locale } = useI18n()
  const { data, isPending, isError } = useSigns()
  const [query, setQuery] = useState('')
  if (isPending) return <p className="text-muted">{t.vocabulary.loading}</p>
  if (isError) return <p>{t.vocabulary.failed}</p>
  if (data.signs.length === 0) return <p className="text-muted">{t.vocabulary.emptyModel}</p>

  const languages = languageNames(
    data.signs.map((sign) => sign.language),
    t,
  )
  const found = matchSigns(data.signs, query, locale)
  return (
    <div>
      <div className="flex flex-wrap items-center gap-x-6 gap-y-2">
        <input
          type="search"
          aria-label={t.vocabulary.search}
          placeholder={t.vocabulary.search}
          value={query}
          onChange={(event) => {
            setQuery(event.target.value)
          }}
          className="min-h-11 w-full rounded-xl border border-edge bg-surface px-4 sm:w-72"
        />
        <p className="text-muted">{t.vocabulary.count(data.signs.length, languages)}</p>
      </div>
      <Group title={t.vocabulary.words} signs={found.filter((sign) => sign.kind === 'word')} />
      <Group title={t.vocabulary.letters} signs={found.filter((sign) => sign.kind === 'letter')} />
      {found.length === 0 && (
        <p className="mt-5">
          {t.vocabulary.none(query)} <span className="text-muted">{t.vocabulary.noneHint}</span>
        </p>
      )}
      {found.some((sign) => sign.num_people === 1) && (
        <p className="mt-5 text-sm text-muted">{t.vocabulary.singleNote}</p>
      )}
    </div>
  )
}

function Group({ title, signs }: { title: string; signs: SignInfo[] }) {
  const { t, locale } = useI18n()
  if (signs.length === 0) return null
  return (
    <section className="mt-5">
      <h3 className="mb-2 font-semibold">{title}</h3>
      <ul className="flex flex-wrap gap-2">
        {signs.map((sign) => (
          <li
            key={sign.label}
            title={sign.num_people === null ? undefined : t.vocabulary.people(sign.num_people)}
            className="flex items-center gap-2 rounded-lg bg-sunken px-3 py-1.5"
          >
            {textOfSign(sign, locale)}
            {sign.num_people === 1 && (
              <span
                role="img"
                aria-label={t.vocabulary.single}
                className="size-2.5 rounded-full border-2 border-warn"
              />
            )}
          </li>
        ))}
      </ul>
    </section>
  )
}
