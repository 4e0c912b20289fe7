import { usePreferences, type Theme } from '@/preferences/preferences'

function apply(theme: Theme): void {
  if (theme === 'system') delete document.documentElement.dataset['theme']
  else document.documentElement.dataset['theme'] = theme
}

/** Keeps the page's colours at what the person chose; "system" leaves the choice to `color-scheme`. */
export function followTheme(): void {
  apply(usePreferences.getState().theme)
  usePreferences.subscribe((state) => {
    apply(state.theme)
  })
}
