import { Dialog } from '@/components/ui/Dialog'
import { useI18n } from '@/i18n/I18n'

const COMMAND = 'make run-https'

/** How to open the page on a phone, whose browser gives the camera to HTTPS pages only. */
export function PhoneDialog({ open, onClose }: { open: boolean; onClose: () => void }) {
  const { t } = useI18n()
  return (
    <Dialog open={open} title={t.phone.title} onClose={onClose}>
      <p>{t.phone.lead}</p>
      <ol className="mt-4 flex list-decimal flex-col gap-3 pl-5 marker:font-semibold marker:text-accent">
        <li>
          {t.phone.step1}
          <code className="mt-1.5 block w-fit rounded-lg bg-sunken px-3 py-2 font-mono font-semibold select-all">
            {COMMAND}
          </code>
        </li>
        <li>{t.phone.step2}</li>
        <li>{t.phone.step3}</li>
      </ol>
      <p className="mt-4 text-muted">{t.phone.note}</p>
    </Dialog>
  )
}
