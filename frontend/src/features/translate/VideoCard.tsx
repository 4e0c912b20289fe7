import { useEffect, useRef, useState } from 'react'
import { useI18n } from '@/i18n/I18n'
import { usePreferences } from '@/preferences/preferences'
import { useController, useTranslate } from './ControllerContext'
import { HintPill, SigningPill } from './Pills'
import { StartPanel } from './StartPanel'
import { needsAttention } from './stages'

/** The mirrored preview with the skeleton on top; until everything runs, the start panel lies in its place. */
export function VideoCard({ onOpenFile, onPhoneHelp }: { onOpenFile: () => void; onPhoneHelp: () => void }) {
  const { t } = useI18n()
  const controller = useController()
  const video = useRef<HTMLVideoElement>(null)
  const overlay = useRef<HTMLCanvasElement>(null)
  const [aspect, setAspect] = useState(4 / 3)
  const source = useTranslate((state) => state.source)
  const preparing = useTranslate(needsAttention)
  const skeleton = usePreferences((state) => state.skeleton)

  useEffect(() => {
    if (!video.current || !overlay.current) return
    return controller.attach(video.current, overlay.current)
  }, [controller])

  useEffect(() => {
    controller.setSkeletonVisible(skeleton)
  }, [controller, skeleton])

  // The overlay takes the size of each source's frames, camera and file alike, and tells so by its attributes.
  useEffect(() => {
    const canvas = overlay.current
    if (!canvas) return
    const observer = new MutationObserver(() => {
      if (canvas.height > 0) setAspect(canvas.width / canvas.height)
    })
    observer.observe(canvas, { attributes: true, attributeFilter: ['width', 'height'] })
    return () => {
      observer.disconnect()
    }
  }, [])

  // Only the camera is shown as in a mirror: a file looks as it was recorded.
  const mirror = source === 'camera' ? '-scale-x-100' : ''
  const media = `absolute inset-0 size-full object-contain ${mirror}`
  return (
    <div
      className={`relative isolate overflow-hidden rounded-2xl shadow-card ${preparing ? 'flex bg-surface lg:flex-1' : 'bg-stage'}`}
    >
      <div
        className={preparing ? 'invisible absolute inset-0 -z-10' : 'relative mx-auto max-h-[33dvh] lg:max-h-[58dvh]'}
        style={preparing ? undefined : { aspectRatio: aspect }}
      >
        <video ref={video} aria-label={t.video.label} muted playsInline className={media} />
        <canvas ref={overlay} aria-hidden className={media} />
      </div>
      {preparing ? (
        <StartPanel onOpenFile={onOpenFile} onPhoneHelp={onPhoneHelp} />
      ) : (
        <>
          <HintPill />
          <SigningPill />
        </>
      )}
    </div>
  )
}
