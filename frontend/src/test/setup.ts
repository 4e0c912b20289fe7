import '@testing-library/jest-dom/vitest'
import { cleanup, configure } from '@testing-library/react'
import { afterEach } from 'vitest'
import { useOperatorToken } from '@/api/operatorToken'
import { STANDARD, usePreferences } from '@/preferences/preferences'

configure({ asyncUtilTimeout: 10_000 })

afterEach(() => {
  cleanup()
  usePreferences.setState(STANDARD)
  useOperatorToken.setState({ token: null })
  localStorage.clear()
})

// jsdom has <dialog> without its methods; the page uses only these two.
HTMLDialogElement.prototype.showModal ??= function showModal(this: HTMLDialogElement) {
  this.open = true
}
HTMLDialogElement.prototype.close ??= function close(this: HTMLDialogElement) {
  this.open = false
}
// jsdom draws nothing and would complain at every attempt.
HTMLCanvasElement.prototype.getContext = () => null

// Radix measures sliders and popovers with it.
globalThis.ResizeObserver ??= class {
  observe() {
    // nothing is laid out in jsdom
  }
  unobserve() {
    // see observe
  }
  disconnect() {
    // see observe
  }
}
Element.prototype.scrollIntoView ??= function scrollIntoView() {
  // nothing scrolls in jsdom
}
// jsdom is neither dark nor wide, and never changes.
window.matchMedia ??= (query: string) =>
  Object.assign(new EventTarget(), { matches: false, media: query }) as MediaQueryList
