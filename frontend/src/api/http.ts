/** The server's HTTP interface, as far as the page uses it. */
import type { SignEntry } from '@/vocabulary/signs'

export async function fetchSigns(): Promise<{ signs: SignEntry[] }> {
  const response = await fetch('/api/v1/signs')
  if (!response.ok) throw new Error(`GET /api/v1/signs answered ${response.status}`)
  return (await response.json()) as { signs: SignEntry[] }
}
