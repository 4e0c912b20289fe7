import { useCallback, useEffect, useRef, useState } from 'react'
import type { CurvePoint, TrainingSession } from '@/api/training'
import { mergePoints, trainingSocketUrl, watchTraining, type Watch, type WatchState } from '@/api/trainingSocket'

export interface Watched {
  session: TrainingSession | null
  points: CurvePoint[]
  connection: WatchState
  /** Looks again: a session that had ended was resumed. */
  again: () => void
}

/** A training session as it goes on. */
export function useTrainingWatch(sessionId: string, token: string): Watched {
  const [session, setSession] = useState<TrainingSession | null>(null)
  const [points, setPoints] = useState<CurvePoint[]>([])
  const [connection, setConnection] = useState<WatchState>('connecting')
  const watch = useRef<Watch>(undefined)
  useEffect(() => {
    const started = watchTraining({
      url: trainingSocketUrl(sessionId),
      token,
      onUpdate: (update) => {
        setSession(update.session)
        setPoints((known) => mergePoints(known, update.points))
      },
      onState: setConnection,
    })
    watch.current = started
    return () => {
      started.stop()
    }
  }, [sessionId, token])
  const again = useCallback(() => watch.current?.again(), [])
  return { session, points, connection, again }
}
