import { useRef } from 'react'
import { Captions } from './Captions'
import { useController } from './ControllerContext'
import { VideoCard } from './VideoCard'
import { VideoControls } from './VideoControls'

/** The live view: preview on one side, captions on the other; below each other on a phone. */
export function TranslateView({ onPhoneHelp }: { onPhoneHelp: () => void }) {
  const controller = useController()
  const fileInput = useRef<HTMLInputElement>(null)
  return (
    <div className="grid gap-5 lg:grid-cols-[minmax(0,5fr)_minmax(0,7fr)]">
      <div className="flex flex-col gap-3">
        <VideoCard onOpenFile={() => fileInput.current?.click()} onPhoneHelp={onPhoneHelp} />
        <VideoControls />
      </div>
      <section className="flex flex-col rounded-2xl bg-surface p-2 shadow-card">
        <Captions />
      </section>
      <input
        ref={fileInput}
        type="file"
        accept="video/*,.npz"
        hidden
        onChange={(event) => {
          const file = event.target.files?.[0]
          if (file) void controller.openFile(file)
          event.target.value = ''
        }}
      />
    </div>
  )
}
