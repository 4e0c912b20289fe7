/** What chosen data sets hold together, and what would be learned from them. Pure functions. */
import type { DataSet } from '@/api/training'

export interface Choice {
  /** Clips of each person, most first. */
  signers: [name: string, clips: number][]
  signs: Set<string>
  languages: string[]
}

export function describeChoice(sets: readonly DataSet[], chosen: ReadonlySet<string>): Choice {
  const signers = new Map<string, number>()
  const signs = new Set<string>()
  const languages = new Set<string>()
  for (const set of sets) {
    if (!chosen.has(set.name)) continue
    for (const [name, clips] of Object.entries(set.signers)) signers.set(name, (signers.get(name) ?? 0) + clips)
    for (const sign of Object.keys(set.signs)) signs.add(sign)
    for (const language of set.languages) languages.add(language)
  }
  return {
    signers: [...signers].toSorted(([a, many], [b, few]) => few - many || a.localeCompare(b)),
    signs,
    languages: [...languages].toSorted(),
  }
}
