import { useEffect } from 'react'

/** Keeps a phone's screen on while somebody signs to it from a distance; browsers without wake locks go on as usual. */
export function useWakeLock(wanted: boolean): void {
  useEffect(() => {
    if (!wanted || !('wakeLock' in navigator)) return
    let lock: WakeLockSentinel | null = null
    let over = false
    const request = async () => {
      if (document.visibilityState !== 'visible') return
      try {
        lock = await navigator.wakeLock.request('screen')
        if (over) await lock.release()
      } catch {
        // Refused, as when the battery is low: the screen then sleeps as it always does.
      }
    }
    const onVisible = () => void request()
    void request()
    // The browser drops the lock when the page is hidden.
    document.addEventListener('visibilitychange', onVisible)
    return () => {
      over = true
      document.removeEventListener('visibilitychange', onVisible)
      void lock?.release()
    }
  }, [wanted])
}
