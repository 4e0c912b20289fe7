/** What a person has chosen on this device; kept across visits in localStorage, never sent anywhere. */
import { create } from 'zustand'
import { persist } from 'zustand/middleware'

export const THEMES = ['system', 'light', 'dark'] as const
export const TEXT_COLOURS = ['auto', 'white', 'yellow', 'cyan', 'green', 'black'] as const
export const BACKGROUNDS = ['auto', 'black', 'navy', 'white', 'cream'] as const
export const CAPTION_SIZES_REM = { min: 1.25, max: 5, step: 0.25, standard: 2.5 } as const

export type Theme = (typeof THEMES)[number]
export type TextColour = (typeof TEXT_COLOURS)[number]
export type Background = (typeof BACKGROUNDS)[number]

export interface Preferences {
  /** null follows the browser's languages. */
  locale: 'en' | 'fr' | null
  theme: Theme
  captionSizeRem: number
  captionColour: TextColour
  captionBackground: Background
  skeleton: boolean
  singleKeys: boolean
  /** Whether corrected signs are stored with their landmark clip. */
  consent: boolean
}

export const STANDARD: Preferences = {
  locale: null,
  theme: 'system',
  captionSizeRem: CAPTION_SIZES_REM.standard,
  captionColour: 'auto',
  captionBackground: 'auto',
  skeleton: true,
  singleKeys: true,
  consent: false,
}

interface PreferencesStore extends Preferences {
  set: (change: Partial<Preferences>) => void
}

function oneOf<T>(value: unknown, allowed: readonly T[], otherwise: T): T {
  return allowed.includes(value as T) ? (value as T) : otherwise
}

/** Takes what localStorage holds, which may be older or edited by hand, and keeps only values that make sense. */
export function readPreferences(stored: unknown): Preferences {
  const raw: Record<string, unknown> = typeof stored === 'object' && stored !== null ? { ...stored } : {}
  const size = typeof raw['captionSizeRem'] === 'number' ? raw['captionSizeRem'] : NaN
  const sizeFits = size >= CAPTION_SIZES_REM.min && size <= CAPTION_SIZES_REM.max
  return {
    locale: oneOf(raw['locale'], ['en', 'fr', null] as const, STANDARD.locale),
    theme: oneOf(raw['theme'], THEMES, STANDARD.theme),
    captionSizeRem: sizeFits ? size : STANDARD.captionSizeRem,
    captionColour: oneOf(raw['captionColour'], TEXT_COLOURS, STANDARD.captionColour),
    captionBackground: oneOf(raw['captionBackground'], BACKGROUNDS, STANDARD.captionBackground),
    skeleton: oneOf(raw['skeleton'], [true, false], STANDARD.skeleton),
    singleKeys: oneOf(raw['singleKeys'], [true, false], STANDARD.singleKeys),
    consent: oneOf(raw['consent'], [true, false], STANDARD.consent),
  }
}

export const PREFERENCES_KEY = 'signflow.preferences'

export const usePreferences = create<PreferencesStore>()(
  persist(
    (set) => ({
      ...STANDARD,
      set: (change) => {
        set(change)
      },
    }),
    {
      name: PREFERENCES_KEY,
      version: 1,
      partialize: ({ set: _set, ...kept }) => kept,
      merge: (stored, current) => ({ ...current, ...readPreferences(stored) }),
    },
  ),
)
