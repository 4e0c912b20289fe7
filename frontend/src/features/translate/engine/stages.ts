/** Writes the stages of start-up into the store. */
import type { StoreApi } from 'zustand/vanilla'
import type { Problem, Stage, StageName, TranslateState } from '../model'
import { EngineError, describe } from './problems'

export class StageBoard {
  constructor(private readonly store: StoreApi<TranslateState>) {}

  state(name: StageName): Stage['state'] {
    return this.store.getState().stages[name].state
  }

  set(name: StageName, state: Exclude<Stage['state'], 'failed'>, detail?: string): void {
    this.put(name, detail === undefined ? { state } : { state, detail })
  }

  /** Shows what went wrong; an error that nobody foresaw counts as `unforeseen`. */
  fail(name: StageName, error: unknown, unforeseen: Problem = 'worker_failed'): void {
    const { problem, message } =
      error instanceof EngineError ? error : new EngineError(unforeseen, describe(error), { cause: error })
    this.put(name, { state: 'failed', problem, detail: message })
  }

  private put(name: StageName, stage: Stage): void {
    this.store.setState(({ stages }) => ({ stages: { ...stages, [name]: stage } }))
  }
}
