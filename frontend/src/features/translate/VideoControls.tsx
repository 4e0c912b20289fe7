import { LockKeyhole, PersonStanding, VideoOff, X } from 'lucide-react'
import { Button, IconButton } from '@/components/ui/Button'
import { useI18n } from '@/i18n/I18n'
import { usePreferences } from '@/preferences/preferences'
import { useController, useTranslate } from './ControllerContext'
import { Measurements } from './Measurements'

/** Under the preview: which camera, the skeleton, off. */
export function VideoControls() {
  const { t } = useI18n()
  const controller = useController()
  const source = useTranslate((state) => state.source)
  const skeleton = usePreferences((state) => state.skeleton)
  const setPreferences = usePreferences((state) => state.set)
  if (source === 'none') return null
  const skeletonLabel = skeleton ? t.video.hideSkeleton : t.video.showSkeleton
  return (
    <div className="flex items-center gap-2">
      {source === 'camera' ? <CameraSelect /> : <FileProgress />}
      <IconButton
        label={skeletonLabel}
        variant="plain"
        aria-pressed={skeleton}
        className={skeleton ? 'bg-accent-soft text-accent' : ''}
        onClick={() => {
          setPreferences({ skeleton: !skeleton })
        }}
      >
        <PersonStanding aria-hidden size={22} />
      </IconButton>
      <Button
        onClick={() => {
          controller.stop()
        }}
      >
        {source === 'camera' ? <VideoOff aria-hidden size={20} /> : <X aria-hidden size={20} />}
        <span aria-hidden className="sm:hidden">
          {source === 'camera' ? t.video.stopShort : t.video.stopFile}
        </span>
        <span className="max-sm:sr-only">{source === 'camera' ? t.video.stop : t.video.stopFile}</span>
      </Button>
    </div>
  )
}

/** What is measured, and the promise about the video; on a phone it comes after the captions, which need the room. */
export function TrustLine() {
  const { t } = useI18n()
  const source = useTranslate((state) => state.source)
  if (source === 'none') return null
  return (
    <div className="flex flex-col gap-1 max-lg:order-last">
      <Measurements />
      <p className="flex items-start gap-2 text-sm text-muted" title={t.privacy.more}>
        <LockKeyhole aria-hidden size={16} className="mt-0.5 shrink-0 text-accent" />
        {t.privacy.sentence}
      </p>
    </div>
  )
}

function CameraSelect() {
  const { t } = useI18n()
  const controller = useController()
  const cameras = useTranslate((state) => state.cameras)
  const cameraId = useTranslate((state) => state.cameraId)
  return (
    <select
      aria-label={t.video.camera}
      value={cameraId ?? ''}
      disabled={cameras.length < 2}
      onChange={(event) => {
        void controller.startCamera(event.target.value)
      }}
      className="min-h-11 min-w-0 flex-1 rounded-xl border border-edge/60 bg-surface px-3 text-[0.9375rem] text-ellipsis disabled:text-muted"
    >
      {cameras.map((camera, index) => (
        <option key={camera.id} value={camera.id}>
          {camera.label || t.video.cameraN(index + 1)}
        </option>
      ))}
    </select>
  )
}

const PROGRESS =
  'h-2 min-w-0 flex-1 appearance-none overflow-hidden rounded-full bg-line [&::-moz-progress-bar]:bg-accent [&::-webkit-progress-bar]:bg-line [&::-webkit-progress-value]:bg-accent'

function FileProgress() {
  const { t, percent } = useI18n()
  const progress = useTranslate((state) => state.fileProgress) ?? 0
  return (
    <div className="flex min-w-0 flex-1 items-center gap-3">
      <progress aria-label={t.video.fileProgress} value={progress} max={1} className={PROGRESS} />
      <span className="text-sm text-muted tabular-nums">{t.correct.percent(percent(progress))}</span>
    </div>
  )
}
