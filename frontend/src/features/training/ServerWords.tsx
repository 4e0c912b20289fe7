import { HttpError } from '@/api/http'
import { Notice } from '@/components/ui/Notice'
import { useI18n } from '@/i18n/I18n'

/** What the server says in its own words, which are English: a detail, marked as such for screen readers. */
export function ServerWords({ text }: { text: string }) {
  const { t } = useI18n()
  return (
    <p className="mt-1 text-sm break-words">
      {t.training.failure.words} <span lang="en">{text}</span>
    </p>
  )
}

/** Why a request was not fulfilled: by the kind of error in the page's language, with the server's words as a detail. */
export function FailureNotice({ title, error }: { title: string; error: Error }) {
  const { t } = useI18n()
  if (!(error instanceof HttpError)) {
    return (
      <Notice tone="danger" title={title}>
        <p className="mt-1">{t.training.failure.unreachable}</p>
      </Notice>
    )
  }
  return (
    <Notice tone="danger" title={title}>
      <p className="mt-1">{t.training.failure.kinds[error.code] ?? t.training.failure.unknown}</p>
      <ServerWords text={error.message} />
    </Notice>
  )
}
