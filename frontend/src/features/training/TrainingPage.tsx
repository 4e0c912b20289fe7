import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useParams } from 'react-router'
import { isRefused } from '@/api/http'
import { useOperatorToken } from '@/api/operatorToken'
import { fetchTrainingOptions } from '@/api/training'
import { OperatorTokenForm } from '@/components/OperatorTokenForm'
import { Card } from '@/components/ui/Facts'
import { Notice } from '@/components/ui/Notice'
import { useI18n } from '@/i18n/I18n'
import { MissingPackages } from './MissingPackages'
import { NewSession } from './NewSession'
import { SessionList } from './SessionList'
import { SessionView } from './SessionView'

/** Training from the page: choose recordings and recipe, watch, cancel, resume. Operators only. */
export function TrainingPage() {
  const { t } = useI18n()
  const { sessionId } = useParams()
  const queries = useQueryClient()
  const { token, set: setToken } = useOperatorToken()
  const options = useQuery({
    queryKey: ['training', 'options', token],
    queryFn: () => fetchTrainingOptions(token ?? ''),
    enabled: token !== null,
    retry: false,
  })
  return (
    <main id="main" tabIndex={-1} className="mx-auto flex max-w-5xl flex-col gap-5 px-4 pt-4 pb-16 sm:px-6">
      <div>
        <h1 className="text-3xl font-semibold tracking-tight">{t.training.title}</h1>
        <p className="max-w-prose text-muted">{t.training.lead}</p>
      </div>
      {token === null || !options.data ? (
        <Card title={t.status.operator}>
          <p className="mb-4 text-muted">{t.training.operatorLead}</p>
          <OperatorTokenForm
            busy={options.isFetching}
            button={t.training.tokenButton}
            onToken={(entered) => {
              queries.removeQueries({ queryKey: ['training'] })
              setToken(entered)
            }}
          />
          {token !== null && options.isError && (
            <div className="mt-4">
              <Notice tone="danger" title={isRefused(options.error) ? t.status.tokenWrong : t.status.unreachable} />
            </div>
          )}
        </Card>
      ) : sessionId === undefined ? (
        <>
          <MissingPackages options={options.data} />
          <NewSession token={token} options={options.data} />
          <SessionList token={token} />
        </>
      ) : (
        <SessionView key={sessionId} token={token} sessionId={sessionId} options={options.data} />
      )}
    </main>
  )
}
