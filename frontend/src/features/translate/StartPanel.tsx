import { Camera, FileVideo, Hand, Lightbulb, LockKeyhole, RotateCcw, ScanFace, Smartphone } from 'lucide-react'
import { Button } from '@/components/ui/Button'
import { Notice } from '@/components/ui/Notice'
import { useI18n } from '@/i18n/I18n'
import { useController, useTranslate } from './ControllerContext'
import { StageList } from './StageList'
import { failedStage, isAboutFile, isStarting } from './stages'

interface StartPanelProps {
  onOpenFile: () => void
  onPhoneHelp: () => void
}

/** What stands in the preview's place until it runs: the invitation, then each stage and what to do when one fails. */
export function StartPanel({ onOpenFile, onPhoneHelp }: StartPanelProps) {
  const { t } = useI18n()
  const starting = useTranslate(isStarting)
  return (
    <div className="flex min-h-80 flex-1 flex-col justify-center gap-5 p-6 sm:p-8 lg:min-h-[23rem]">
      {starting ? <Progress onPhoneHelp={onPhoneHelp} /> : <Invitation />}
      <div>
        <Button variant="quiet" onClick={onOpenFile} className="-ml-4">
          <FileVideo aria-hidden size={20} />
          {t.start.file}
        </Button>
        {!starting && <p className="text-sm text-muted">{t.start.fileHint}</p>}
      </div>
    </div>
  )
}

const TIPS = [
  { name: 'frame', Icon: ScanFace },
  { name: 'light', Icon: Lightbulb },
  { name: 'rest', Icon: Hand },
] as const

function Invitation() {
  const { t } = useI18n()
  const controller = useController()
  return (
    <>
      <div>
        <p aria-hidden className="text-2xl/tight font-semibold tracking-tight text-balance sm:text-3xl/tight">
          {t.start.title}
        </p>
        <ul className="mt-4 flex flex-col gap-2 text-muted">
          {TIPS.map(({ name, Icon }) => (
            <li key={name} className="flex items-center gap-3">
              <Icon aria-hidden size={20} className="shrink-0 text-accent" />
              {t.start.tips[name]}
            </li>
          ))}
        </ul>
      </div>
      <div className="flex flex-col items-start gap-3">
        <Button
          variant="primary"
          size="lg"
          onClick={() => {
            void controller.startCamera()
          }}
        >
          <Camera aria-hidden size={24} />
          {t.start.button}
        </Button>
        <p className="flex items-start gap-2 text-sm">
          <LockKeyhole aria-hidden size={16} className="mt-0.5 shrink-0 text-accent" />
          {t.privacy.sentence}
        </p>
      </div>
    </>
  )
}

function Progress({ onPhoneHelp }: { onPhoneHelp: () => void }) {
  const { t } = useI18n()
  const controller = useController()
  const failed = useTranslate(failedStage)
  const aboutFile = useTranslate(isAboutFile)
  const help = failed?.problem ? t.problem[failed.problem] : null
  return (
    <>
      <h2 className="text-xl font-semibold">{failed ? t.start.stuck : t.start.starting}</h2>
      <StageList />
      {failed && help && (
        <Notice tone="danger" title={help.what}>
          <p className="mt-1">{help.todo}</p>
          {failed.detail && (
            <details className="mt-2 text-sm text-muted">
              <summary>{t.start.technical}</summary>
              <code className="mt-1 block break-words">{failed.detail}</code>
            </details>
          )}
          <div className="mt-3 flex flex-wrap gap-2">
            {aboutFile ? (
              <Button
                variant="primary"
                onClick={() => {
                  void controller.startCamera()
                }}
              >
                <Camera aria-hidden size={18} />
                {t.start.button}
              </Button>
            ) : (
              <Button
                variant="primary"
                onClick={() => {
                  controller.retry()
                }}
              >
                <RotateCcw aria-hidden size={18} />
                {t.start.retry}
              </Button>
            )}
            {failed.problem === 'insecure_origin' && (
              <Button onClick={onPhoneHelp}>
                <Smartphone aria-hidden size={18} />
                {t.phone.title}
              </Button>
            )}
          </div>
        </Notice>
      )}
    </>
  )
}
