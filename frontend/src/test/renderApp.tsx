import { act, render, type RenderResult } from '@testing-library/react'
import userEvent, { type UserEvent } from '@testing-library/user-event'
import { vi } from 'vitest'
import type { SignInfo } from '@/api/http'
import { App } from '@/app/App'
import type { TranslateState } from '@/features/translate/model'
import { createFakeController, type FakeController } from './fakeController'

const sign = (label: string, kind: SignInfo['kind'], en: string, fr: string, num_people: number): SignInfo => ({
  label,
  kind,
  texts: { en, fr },
  num_people,
  language: 'ase',
  recognised: true,
})

export const SIGNS: SignInfo[] = [
  sign('hello', 'word', 'hello', 'bonjour', 12),
  sign('thank_you', 'word', 'thank you', 'merci', 11),
  sign('goodbye', 'word', 'goodbye', 'au revoir', 2),
  sign('mother', 'word', 'mother', 'mère', 1),
  sign('letter_b', 'letter', 'B', 'B', 2),
]

/** Answers `fetch` from a table of "METHOD /path"; anything else is a failed connection. */
export function fakeServer(answers: Record<string, (request: Request) => Response | Promise<Response>>): void {
  vi.stubGlobal('fetch', async (input: Request | string | URL, init?: RequestInit) => {
    const request =
      input instanceof Request ? input : new Request(new URL(String(input), 'http://127.0.0.1:8000'), init)
    const answer = answers[`${request.method} ${new URL(request.url).pathname}`]
    if (!answer) throw new TypeError('Failed to fetch')
    return answer(request)
  })
}

export interface Rendered extends RenderResult {
  controller: FakeController
  user: UserEvent
  /** What the engine would do: change the state, with React following. */
  set: (change: Partial<TranslateState>) => void
}

export function renderApp(state: Partial<TranslateState> = {}, path = '/'): Rendered {
  window.history.replaceState(null, '', path)
  const user = userEvent.setup()
  const controller = createFakeController(state)
  const set = (change: Partial<TranslateState>) => {
    act(() => {
      controller.set(change)
    })
  }
  return { ...render(<App controller={controller} />), controller, user, set }
}
