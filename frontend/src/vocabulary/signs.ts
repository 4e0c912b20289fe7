/** The signs that the server can recognise, and how to write them in the interface's language. */
import { useQuery } from '@tanstack/react-query'
import { useCallback, useMemo } from 'react'
import { fetchSigns } from '@/api/http'
import { useI18n, type Locale } from '@/i18n/I18n'

export interface SignEntry {
  label: string
  kind: 'word' | 'letter'
  text: Record<Locale, string>
  /** People whose clips taught this sign; null when the server does not know. */
  numSigners: number | null
}

/** A readable text for a label that the server's list does not have: `letter_a` is A, `thank_you` is "thank you". */
export function textFromLabel(label: string): string {
  const letter = /^letter_(.+)$/.exec(label)?.[1]
  return letter ? letter.toUpperCase() : label.replaceAll('_', ' ')
}

export function useSigns() {
  return useQuery({ queryKey: ['signs'], queryFn: fetchSigns, staleTime: 5 * 60_000 })
}

/** Returns a function from a sign's label to its text in the interface's language. */
export function useSignText(): (label: string) => string {
  const { locale } = useI18n()
  const { data } = useSigns()
  const texts = useMemo(() => new Map(data?.signs.map((sign) => [sign.label, sign.text[locale]])), [data, locale])
  return useCallback((label: string) => texts.get(label) ?? textFromLabel(label), [texts])
}

/** For searching: without case and accents, so that "deja" finds "déjà". */
function plain(text: string): string {
  return text
    .normalize('NFD')
    .replaceAll(/\p{Diacritic}/gu, '')
    .toLowerCase()
}

/** The signs whose text contains the query, those that begin with it first, then in alphabetical order. */
export function matchSigns(signs: readonly SignEntry[], query: string, locale: Locale): SignEntry[] {
  const wanted = plain(query.trim())
  const rank = (sign: SignEntry) => (plain(sign.text[locale]).startsWith(wanted) ? 0 : 1)
  return signs
    .filter((sign) => plain(sign.text[locale]).includes(wanted))
    .toSorted((a, b) => rank(a) - rank(b) || a.text[locale].localeCompare(b.text[locale], locale))
}
