/** The signs that the server can recognise, and how to write them in the interface's language. */
import { useQuery } from '@tanstack/react-query'
import { useCallback, useMemo } from 'react'
import { fetchSigns, type SignInfo } from '@/api/http'
import type { Dictionary } from '@/i18n/en'
import { useI18n, type Locale } from '@/i18n/I18n'

/** A readable text for a label that the server's list does not have: `letter_a` is A, `thank_you` is "thank you". */
export function textFromLabel(label: string): string {
  const letter = /^letter_(.+)$/.exec(label)?.[1]
  if (letter === undefined) return label.replaceAll('_', ' ')
  const capital = letter.toUpperCase()
  return capital.toLowerCase() === letter ? capital : letter // ß and the dotless ı have none of their own
}

export function textOfSign(sign: SignInfo, locale: Locale): string {
  return sign.texts[locale] ?? sign.texts['en'] ?? textFromLabel(sign.label)
}

export function useSigns() {
  return useQuery({ queryKey: ['signs'], queryFn: fetchSigns, staleTime: 60_000 })
}

/** Returns a function from a sign's label to its text in the interface's language. */
export function useSignText(): (label: string) => string {
  const { locale } = useI18n()
  const { data } = useSigns()
  const texts = useMemo(
    () => new Map(data?.signs.map((sign) => [sign.label, textOfSign(sign, locale)])),
    [data, locale],
  )
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
export function matchSigns(signs: readonly SignInfo[], query: string, locale: Locale): SignInfo[] {
  const wanted = plain(query.trim())
  const text = (sign: SignInfo) => textOfSign(sign, locale)
  const rank = (sign: SignInfo) => (plain(text(sign)).startsWith(wanted) ? 0 : 1)
  return signs
    .filter((sign) => plain(text(sign)).includes(wanted))
    .toSorted((a, b) => rank(a) - rank(b) || text(a).localeCompare(text(b), locale))
}

/** What the languages of these ISO 639-3 codes are called; a code without a name stands for itself. */
export function languageNames(codes: Iterable<string>, { vocabulary }: Dictionary): string {
  const names: Record<string, string> = vocabulary.languages
  return [...new Set(codes)].map((code) => names[code] ?? code).join(', ')
}
