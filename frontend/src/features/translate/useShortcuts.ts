import { useEffect, useRef } from 'react'

/** Keys to actions: a lower-case letter, `?`, or `1` to `5`. */
export type Shortcuts = Record<string, (() => void) | undefined>

const TYPING = 'input:not([type="range"]), textarea, select, [contenteditable="true"], [role="radiogroup"] *'

/** The key of an event as `Shortcuts` names it; digits by their place, because French keyboards need Shift for them. */
export function keyName(event: KeyboardEvent): string {
  return /^(?:Digit|Numpad)([1-5])$/.exec(event.code)?.[1] ?? event.key.toLowerCase()
}

/**
 * Single-key shortcuts for the whole page. They rest while somebody types, while a dialog is open and with Ctrl, Alt or
 * Meta; `enabled` is the switch that WCAG 2.1.4 asks for, and "?" works even then, because the switch is found there.
 */
export function useShortcuts(shortcuts: Shortcuts, enabled: boolean): void {
  const latest = useRef({ shortcuts, enabled })
  useEffect(() => {
    latest.current = { shortcuts, enabled }
  })
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return
      if (event.target instanceof Element && event.target.closest(TYPING)) return
      if (document.querySelector('dialog[open]')) return
      const name = keyName(event)
      const action = latest.current.enabled || name === '?' ? latest.current.shortcuts[name] : undefined
      if (!action) return
      event.preventDefault()
      action()
    }
    window.addEventListener('keydown', onKey)
    return () => {
      window.removeEventListener('keydown', onKey)
    }
  }, [])
}
