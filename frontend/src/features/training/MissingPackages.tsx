import type { TrainingOptions } from '@/api/training'
import { Notice } from '@/components/ui/Notice'
import { useI18n } from '@/i18n/I18n'

/** Says which command installs what training needs; nothing when all is there. */
export function MissingPackages({ options }: { options: TrainingOptions }) {
  const { t } = useI18n()
  if (options.missing.length === 0) return null
  return (
    <Notice tone="warn" title={t.training.missing}>
      <p className="mt-1">{t.training.missingHow}</p>
      <pre className="my-2 overflow-x-auto rounded-lg bg-surface px-3 py-2 font-mono text-sm">
        {options.install_command}
      </pre>
      <p className="text-sm text-muted">{t.training.missingList(options.missing.join(', '))}</p>
    </Notice>
  )
}
