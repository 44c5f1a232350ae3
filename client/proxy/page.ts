/** The page that the proxy answers with when it has nothing else to show: short, static, loading nothing. Nothing of a request is echoed. */
import type { Failure } from '../http/index.ts'

/** HTML of `failure`. */
export function failurePage({ status, title, detail, code, remedy }: Failure): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${status} ${escaped(title)}</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem;color-scheme:light dark}small{opacity:.7}</style>
<h1>${escaped(title)}</h1>
<p>${escaped(detail)}
<p>${escaped(remedy)}
<p><small>Gyre proxy · ${status} · ${escaped(code)}</small>
</html>
`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
