import { Download } from 'lucide-react'
import { Button } from '@/components/ui/Button'
import { useI18n } from '@/i18n/I18n'
import { saveFile } from '@/lib/saveFile'
import { useSignText } from '@/vocabulary/signs'
import { useTranslate } from './ControllerContext'
import { FORMATS, makeCues, writeTranscript } from './transcript'

/** Saves what was signed as text or subtitles; nothing leaves the device. */
export function TranscriptFiles() {
  const { t } = useI18n()
  const signText = useSignText()
  const signs = useTranslate((state) => state.signs)
  const cues = makeCues(signs, signText)
  if (cues.length === 0) return null
  return (
    <section aria-label={t.history.save}>
      <h3 className="font-semibold">{t.history.save}</h3>
      <div className="mt-2 flex flex-wrap gap-2">
        {FORMATS.map((format) => (
          <Button
            key={format}
            onClick={() => {
              saveFile(
                new Blob([writeTranscript(cues, format)], { type: 'text/plain;charset=utf-8' }),
                `signflow.${format}`,
              )
            }}
          >
            <Download aria-hidden size={18} />
            {t.history.saveAs[format]}
          </Button>
        ))}
      </div>
    </section>
  )
}
