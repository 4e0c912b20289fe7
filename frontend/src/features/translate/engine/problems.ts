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

/** Browsers throw things that look like errors without being instances of Error: OverconstrainedError is one. */
function isNamed(error: unknown): error is { name: string; message: string } {
  return typeof error === 'object' && error !== null && 'name' in error && 'message' in error
}

export function describe(error: unknown): string {
  return isNamed(error) ? `${error.name}: ${error.message}` : String(error)
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
  const name = isNamed(error) ? error.name : ''
  return new EngineError(CAMERA_PROBLEMS[name] ?? 'camera_missing', describe(error), { cause: error })
}
