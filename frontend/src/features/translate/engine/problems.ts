/** Failures of the engine that the page has words for. */
import type { Problem } from '../model'

export class EngineError extends Error {
  override name = 'EngineError'

  constructor(
    readonly problem: Problem,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

export function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}

const CAMERA_PROBLEMS: Readonly<Record<string, Problem>> = {
  NotAllowedError: 'camera_refused',
  SecurityError: 'camera_refused',
  PermissionDeniedError: 'camera_refused',
  NotFoundError: 'camera_missing',
  DevicesNotFoundError: 'camera_missing',
  OverconstrainedError: 'camera_missing',
  ConstraintNotSatisfiedError: 'camera_missing',
  NotReadableError: 'camera_busy',
  TrackStartError: 'camera_busy',
  AbortError: 'camera_busy',
  TimeoutError: 'camera_busy',
}

/** What a failed `getUserMedia` means for the person in front of it; older browsers' names included. */
export function cameraProblem(error: unknown): EngineError {
  if (error instanceof EngineError) return error
  const name = error instanceof Error ? error.name : ''
  return new EngineError(CAMERA_PROBLEMS[name] ?? 'camera_missing', describe(error), { cause: error })
}
