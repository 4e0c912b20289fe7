/**
 * The tokens of sessions in which this browser gave landmark clips: with them their giver lists and deletes the clips on a
 * later visit. A token opens nothing else.
 */
import { create } from 'zustand'
import { persist } from 'zustand/middleware'

/** Older sessions are forgotten; their clips can then be deleted by the operator. */
const MAX_TOKENS = 50

interface GiverTokens {
  tokens: string[]
  remember: (token: string) => void
}

function readTokens(stored: unknown): string[] {
  if (typeof stored !== 'object' || stored === null || !('tokens' in stored)) return []
  return Array.isArray(stored.tokens) ? stored.tokens.filter((token) => typeof token === 'string') : []
}

export const useGiverTokens = create<GiverTokens>()(
  persist(
    (set) => ({
      tokens: [],
      remember: (token) => {
        set(({ tokens }) => ({ tokens: [token, ...tokens.filter((known) => known !== token)].slice(0, MAX_TOKENS) }))
      },
    }),
    {
      name: 'signflow.givenClips',
      version: 1,
      partialize: ({ tokens }) => ({ tokens }),
      merge: (stored, current) => ({ ...current, tokens: readTokens(stored) }),
    },
  ),
)
