import { createContext, useContext, useEffect, useMemo, type ReactNode } from 'react'
import { usePreferences } from '@/preferences/preferences'
import { en, type Dictionary } from './en'
import { fr } from './fr'

export type Locale = 'en' | 'fr'

const DICTIONARIES: Record<Locale, Dictionary> = { en, fr }

/** The first of the browser's languages that the interface has; English when it has none. */
export function detectLocale(languages: readonly string[] = navigator.languages): Locale {
  for (const language of languages) {
    const base = language.slice(0, 2).toLowerCase()
    if (base === 'fr' || base === 'en') return base
  }
  return 'en'
}

interface I18n {
  t: Dictionary
  locale: Locale
  /** A fraction as a whole percentage, without the sign; `<1` for what would round to nothing. */
  percent: (fraction: number) => string
  decimal: (value: number, digits: number) => string
  date: (iso: string) => string
}

function createI18n(locale: Locale): I18n {
  return {
    t: DICTIONARIES[locale],
    locale,
    percent: (fraction) => (fraction > 0 && fraction < 0.005 ? '<1' : Math.round(fraction * 100).toString()),
    decimal: (value, digits) =>
      value.toLocaleString(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits }),
    date: (iso) => new Date(iso).toLocaleString(locale, { dateStyle: 'medium', timeStyle: 'short' }),
  }
}

const I18nContext = createContext<I18n>(createI18n('en'))

export function I18nProvider({ children }: { children: ReactNode }) {
  const preferred = usePreferences((state) => state.locale)
  const locale = preferred ?? detectLocale()
  const value = useMemo(() => createI18n(locale), [locale])
  useEffect(() => {
    document.documentElement.lang = locale
  }, [locale])
  return <I18nContext.Provider value={value}>{children}</I18nContext.Provider>
}

export function useI18n(): I18n {
  return useContext(I18nContext)
}
