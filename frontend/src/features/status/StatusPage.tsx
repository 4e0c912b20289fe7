import { useQuery } from '@tanstack/react-query'
import { CircleCheck } from 'lucide-react'
import { fetchActiveModel, fetchReadiness, fetchServerVersion, type ModelInfo } from '@/api/http'
import { Notice } from '@/components/ui/Notice'
import { useI18n } from '@/i18n/I18n'
import { languageNames } from '@/vocabulary/signs'
import { Card, Facts } from '@/components/ui/Facts'
import { OperatorArea } from './OperatorArea'
import { RemoteCard } from './RemoteCard'

const REFRESH_MS = 5000

/** What the person who runs the server wants to know: can it translate, with which model, and if not, why. */
export function StatusPage() {
  const { t } = useI18n()
  return (
    <main id="main" tabIndex={-1} className="mx-auto flex max-w-4xl flex-col gap-5 px-4 pt-4 pb-12 sm:px-6">
      <div>
        <h1 className="text-3xl font-semibold tracking-tight">{t.status.title}</h1>
        <p className="text-muted">{t.status.lead}</p>
      </div>
      <PublicStatus />
      <OperatorArea />
      <p className="flex flex-wrap gap-x-6 gap-y-2">
        <a href="/docs" className="text-accent underline">
          {t.status.docs}
        </a>
        <a href="/metrics" className="text-accent underline">
          {t.status.metrics}
        </a>
      </p>
    </main>
  )
}

function PublicStatus() {
  const { t } = useI18n()
  const options = { refetchInterval: REFRESH_MS, retry: false }
  const readiness = useQuery({ queryKey: ['status', 'readiness'], queryFn: fetchReadiness, ...options })
  const version = useQuery({ queryKey: ['status', 'version'], queryFn: fetchServerVersion, ...options })
  const model = useQuery({ queryKey: ['status', 'model'], queryFn: fetchActiveModel, ...options })

  if (readiness.isPending) return <p className="text-muted">{t.status.loading}</p>
  if (readiness.isError) {
    return (
      <Notice tone="danger" title={t.status.unreachable}>
        <p className="mt-1">{t.status.unreachableHow}</p>
      </Notice>
    )
  }
  return (
    <>
      {readiness.data.ready ? (
        <p className="flex items-center gap-3 rounded-xl bg-accent-soft p-4 font-semibold">
          <CircleCheck aria-hidden size={22} className="text-accent" />
          {t.status.ready}
          {version.data && (
            <span className="ml-auto font-normal whitespace-nowrap text-muted">SignFlow {version.data}</span>
          )}
        </p>
      ) : (
        <Notice tone="danger" title={t.status.notReady}>
          {readiness.data.reasons.map((reason) => (
            <p key={reason} className="mt-1 break-words">
              {reason}
            </p>
          ))}
        </Notice>
      )}
      <Card title={t.status.model}>{model.data ? <ModelFacts model={model.data} /> : <NoModel />}</Card>
      {readiness.data.remote && <RemoteCard remote={readiness.data.remote} />}
    </>
  )
}

function NoModel() {
  const { t } = useI18n()
  return (
    <>
      <p className="font-medium">{t.status.noModel}</p>
      <p className="text-muted">{t.status.noModelHow}</p>
    </>
  )
}

function ModelFacts({ model }: { model: ModelInfo }) {
  const { t, percent } = useI18n()
  const languages = languageNames(model.languages, t)
  return (
    <Facts
      facts={[
        { name: t.status.version, value: model.version },
        { name: t.status.file, value: model.file_name },
        { name: t.status.hash, value: <code className="font-mono text-sm break-all">{model.sha256}</code> },
        { name: t.status.signs, value: t.vocabulary.count(model.num_signs, languages) },
        { name: t.status.backend, value: model.backend },
        {
          name: t.status.fallback,
          value:
            model.fallback_reason === null ? (
              t.status.noFallback
            ) : (
              <span className="text-warn">{model.fallback_reason}</span>
            ),
        },
        { name: t.status.tta, value: model.tta ? t.status.ttaOn : t.status.ttaOff },
        { name: t.status.queue, value: model.batch ? t.status.queueLimits(model.batch) : t.status.noQueue },
        { name: t.status.features, value: model.feature_spec },
        { name: t.status.threshold, value: t.correct.percent(percent(model.threshold)) },
        ...(model.confidence_unmeasured === null
          ? []
          : [
              {
                name: t.status.unmeasured,
                value: <span className="text-warn">{model.confidence_unmeasured}</span>,
              },
            ]),
      ]}
    />
  )
}
