import { FileVideo } from 'lucide-react'
import { useEffect, useState } from 'react'
import { useI18n } from '@/i18n/I18n'

const carriesFiles = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false

/** Takes a file dropped anywhere on the page, and says so while one is held over it. */
export function FileDrop({ onFile }: { onFile: (file: File) => void }) {
  const { t } = useI18n()
  const [over, setOver] = useState(false)

  useEffect(() => {
    const drag = (event: DragEvent) => {
      if (!carriesFiles(event)) return
      event.preventDefault()
      setOver(true)
    }
    // Leaving one element for another inside the page also fires "leave"; only out of the window has no target.
    const leave = (event: DragEvent) => {
      if (event.relatedTarget === null) setOver(false)
    }
    const drop = (event: DragEvent) => {
      setOver(false)
      const file = event.dataTransfer?.files[0]
      if (!file) return
      event.preventDefault()
      onFile(file)
    }
    const listeners = { dragenter: drag, dragover: drag, dragleave: leave, drop }
    for (const [name, listener] of Object.entries(listeners)) window.addEventListener(name, listener as EventListener)
    return () => {
      for (const [name, listener] of Object.entries(listeners))
        window.removeEventListener(name, listener as EventListener)
    }
  }, [onFile])

  if (!over) return null
  return (
    <div className="pointer-events-none fixed inset-0 z-30 grid place-items-center bg-page/85 p-6">
      <div className="rounded-3xl border-3 border-dashed border-accent bg-surface px-10 py-12 text-center shadow-card">
        <FileVideo aria-hidden size={40} className="mx-auto mb-3 text-accent" />
        <p className="text-2xl font-semibold">{t.drop.title}</p>
        <p className="mt-1 text-muted">{t.drop.lead}</p>
      </div>
    </div>
  )
}
