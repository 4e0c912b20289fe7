/** The operator's token: in memory only, for all of the operator's pages, until the page is closed or reloaded. */
import { create } from 'zustand'

interface OperatorToken {
  token: string | null
  set: (token: string | null) => void
}

export const useOperatorToken = create<OperatorToken>()((set) => ({
  token: null,
  set: (token) => {
    set({ token })
  },
}))
