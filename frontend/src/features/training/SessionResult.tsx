import { useMutation } from '@tanstack/react-query'
import { Check, Copy, Download } from 'lucide-react'
import { useState } from 'react'
import { fetchModelFile, type TrainingResult, type TrainingSession } from '@/api/training'
import { Button, IconButton } from '@/components/ui/Button'
import { Card, Facts } from '@/components/ui/Facts'
import { Notice } from '@/components/ui/Notice'
import { useI18n } from '@/i18n/I18n'
import { saveFile } from '@/lib/saveFile'
import { useSignText } from '@/vocabulary/signs'
import { FailureNotice, ServerWords } from './ServerWords'

const NUM_CONFUSIONS = 8

interface SessionResultProps {
  session: TrainingSession
  result: TrainingResult
  token: string
}

/** What came out: how well it does on people it has never seen, where its files lie, how to use it. */
export function SessionResult({ session, result, token }: SessionResultProps) {
  const { t, percent, decimal } = useI18n()
  return (
    <Card title={t.training.result.title}>
      {result.accuracy === null ? (
        <Notice tone="warn" title={t.training.result.unjudged} />
      ) : (
        <p className="text-lg font-semibold">
          {t.training.result.accuracy(percent(result.accuracy), result.num_judged)}
        </p>
      )}
      <p className="mt-1 text-muted">
        {t.training.result.learned(result.num_labels, result.num_clips, decimal(result.seconds / 60, 1))}
        {result.num_copies > 0 && ` ${t.training.result.copies(result.num_copies)}`}
      </p>
      {result.num_left_out > 0 && <LeftOut result={result} />}
      {result.signers.length > 0 && <People result={result} />}
      {result.confusions.length > 0 && <Confusions result={result} />}
      <Files session={session} result={result} token={token} />
      <div className="mt-6">
        <Facts
          facts={[
            { name: t.training.result.data, value: <Code text={result.data_fingerprint.slice(0, 16)} /> },
            { name: t.training.result.revision, value: <Code text={result.revision} /> },
            ...(session.tracking_run === null
              ? []
              : [
                  {
                    name: t.training.result.tracking,
                    value: (
                      <>
                        <Code text={session.tracking_run} />{' '}
                        <span className="text-sm text-muted">{t.training.result.trackingHow}</span>
                      </>
                    ),
                  },
                ]),
          ]}
        />
      </div>
      {session.tracking_problem !== null && (
        <div className="mt-4">
          <Notice tone="warn" title={t.training.result.trackingProblem}>
            <ServerWords text={session.tracking_problem} />
          </Notice>
        </div>
      )}
    </Card>
  )
}

function Code({ text }: { text: string }) {
  return <code className="font-mono text-sm break-all">{text}</code>
}

/** Recordings that could not be used, with the reasons. */
function LeftOut({ result }: { result: TrainingResult }) {
  const { t } = useI18n()
  const more = result.num_left_out - result.left_out.length
  return (
    <div className="mt-4">
      <Notice tone="warn" title={t.training.result.leftOut(result.num_left_out)}>
        <ul className="mt-1 list-inside list-disc break-words">
          {result.left_out.map(({ name, reason }) => (
            <li key={name}>{`${name}: ${reason}`}</li>
          ))}
          {more > 0 && <li>{t.training.result.leftOutMore(more)}</li>}
        </ul>
      </Notice>
    </div>
  )
}

function People({ result }: { result: TrainingResult }) {
  const { t, percent } = useI18n()
  return (
    <>
      <h3 className="mt-6 mb-2 font-semibold">{t.training.result.people}</h3>
      <table className="w-full max-w-xl text-left">
        <thead className="text-sm text-muted">
          <tr>
            <th className="py-1 font-normal">{t.training.result.person}</th>
            <th colSpan={2} className="pl-3 font-normal">
              {t.training.result.right}
            </th>
            <th className="text-right font-normal">{t.training.result.clips}</th>
          </tr>
        </thead>
        <tbody>
          {result.signers.map((score) => (
            <tr key={score.signer} className="border-t border-line">
              <td className="max-w-40 py-2 pr-3 break-words">{score.signer}</td>
              <td className="px-3 text-right tabular-nums">{t.correct.percent(percent(score.accuracy))}</td>
              <td className="w-2/5">
                <Bar fraction={score.accuracy} />
              </td>
              <td className="pl-3 text-right tabular-nums">{score.num_clips}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  )
}

function Bar({ fraction }: { fraction: number }) {
  return (
    <div aria-hidden className="h-2 overflow-hidden rounded-full bg-sunken">
      <div className="h-full rounded-full bg-accent" style={{ width: `${100 * fraction}%` }} />
    </div>
  )
}

function Confusions({ result }: { result: TrainingResult }) {
  const { t } = useI18n()
  const signText = useSignText()
  return (
    <>
      <h3 className="mt-6 mb-2 font-semibold">{t.training.result.confusions}</h3>
      <ul className="list-inside list-disc">
        {result.confusions.slice(0, NUM_CONFUSIONS).map(({ label, predicted, count }) => (
          <li key={`${label} ${predicted}`}>
            {t.training.result.confusion(signText(label), signText(predicted), count)}
          </li>
        ))}
      </ul>
    </>
  )
}

function Files({ session, result, token }: SessionResultProps) {
  const { t } = useI18n()
  const [copied, setCopied] = useState(false)
  const download = useMutation({
    mutationFn: async (name: string) => {
      saveFile(await fetchModelFile(session.id, name, token), name)
    },
  })
  return (
    <>
      <h3 className="mt-6 mb-2 font-semibold">{t.training.result.files}</h3>
      <p>{t.training.result.activate}</p>
      <div className="my-2 flex items-center gap-1 rounded-xl bg-sunken py-1 pr-1 pl-4">
        <code className="min-w-0 flex-1 py-1.5 font-mono text-sm break-all">{result.activate}</code>
        <IconButton
          label={copied ? t.training.result.copied : t.training.result.copy}
          onClick={() => {
            void navigator.clipboard.writeText(result.activate).then(() => {
              setCopied(true)
            })
          }}
        >
          {copied ? <Check aria-hidden size={18} /> : <Copy aria-hidden size={18} />}
        </IconButton>
      </div>
      <div className="flex flex-wrap gap-2">
        {result.files.map((name) => (
          <Button
            key={name}
            aria-label={t.training.result.download(name)}
            disabled={download.isPending}
            onClick={() => {
              download.mutate(name)
            }}
          >
            <Download aria-hidden size={18} />
            {name}
          </Button>
        ))}
      </div>
      {download.isError && (
        <div className="mt-3">
          <FailureNotice title={t.training.result.downloadFailed} error={download.error} />
        </div>
      )}
    </>
  )
}
