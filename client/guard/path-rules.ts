/**
 * What a path alone says: names under which systems and programs keep what is private. Pure. Each part of the path is judged, so that a file
 * is known by the folder that it lies in. Names are compared without regard to case: the folder may come from a system that has none.
 *
 * The lists follow what gitleaks, git-secrets, OWASP and the programs' own documents name; where a name is common for harmless things too
 * (`*.pem`), the content decides instead (`secret-marks.ts`).
 */
import type { Placed } from './listing.ts'

interface NameRule {
  readonly rule: string
  readonly reason: string
  /** Matches a whole name in lower case. */
  readonly name: RegExp
  /** `folder`: only a folder of that name; `file`: only a file; `any` else. */
  readonly of: 'folder' | 'file' | 'any'
}

/** The first rule that matches a name counts; more exact ones stand first. */
const NAME_RULES: readonly NameRule[] = [
  {
    rule: 'version-control',
    reason: 'the history of a version control system, with all that was ever in it',
    name: /^(\.git|\.hg|\.svn|\.bzr|\.jj|\.pijul|\.fossil|_darcs|_fossil_|cvs)$/,
    of: 'folder',
  },
  {
    rule: 'version-control',
    reason: 'where a version control system keeps its history',
    name: /^(\.git|\.fslckout|_fossil_)$/,
    of: 'file',
  },
  {
    rule: 'credentials',
    reason: 'a folder of keys and credentials',
    name: /^(\.ssh|\.gnupg|\.gpg|\.aws|\.azure|\.kube|\.docker|\.gcloud|gcloud|\.oci|\.config|\.password-store|\.vault-token|\.terraform|\.chef|\.secrets?|private-keys-v1\.d)$/,
    of: 'folder',
  },
  {
    rule: 'browser',
    reason: "a browser's or mail program's profile",
    name: /^(\.mozilla|\.thunderbird|\.librewolf|\.tor-browser)$/,
    of: 'folder',
  },
  {
    rule: 'wallet',
    reason: 'the folder of a wallet',
    name: /^(\.bitcoin|\.litecoin|\.dogecoin|\.dashcore|\.zcash|\.electrum|\.electron-cash|\.ethereum|\.monero|\.bitmonero|\.lnd|\.lightning|\.solana)$/,
    of: 'folder',
  },
  { rule: 'gyre-data', reason: "the data folder of a Gyre node, with the node's keys", name: /^\.gyre$/, of: 'folder' },
  { rule: 'gyre-data', reason: "the token of a Gyre node's API", name: /^api\.token$/, of: 'file' },
  {
    rule: 'environment',
    reason: 'settings of an environment, often with passwords',
    name: /^\.env([._-].*)?$|^\.envrc$|^\.flaskenv$/,
    of: 'any',
  },
  {
    rule: 'private-key',
    reason: 'named as an SSH private key',
    name: /^id_[a-z0-9]+(_sk)?(_[a-z0-9]+)?$|^ssh_host_[a-z0-9]+_key$|^identity\.ssh$/,
    of: 'file',
  },
  {
    rule: 'private-key',
    reason: 'named as a private key or a store of keys',
    name: /\.(key|p12|pfx|p8|pvk|ppk|jks|jceks|keystore|bks|agekey|kbx|keytab)$|^secring\.gpg$|^trustdb\.gpg$|^\.?keytab$/,
    of: 'file',
  },
  {
    rule: 'password-store',
    reason: 'a store of passwords',
    name: /\.(kdbx?|kwallet|keychain|keychain-db|agilekeychain|opvault|1pux|psafe3|enpassdb|walletx)$|^login\.keyring$/,
    of: 'any',
  },
  {
    rule: 'password-store',
    reason: 'where a browser keeps passwords and sessions',
    name: /^(logins(-backup)?\.json|signons\.sqlite|key[34]\.db|cert[89]\.db|cookies\.sqlite|places\.sqlite|formhistory\.sqlite|webappsstore\.sqlite|sessionstore\.(js|jsonlz4)|login data( for account)?|web data|cookies|cookies-journal|local state|extension cookies)$/,
    of: 'file',
  },
  {
    rule: 'wallet',
    reason: 'named as a wallet',
    name: /^wallet\.(dat|keys)$|\.(wallet|macaroon)$|^default_wallet$|^hsm_secret$|^utc--\d{4}-\d\d-\d\d.*/,
    of: 'file',
  },
  {
    rule: 'wallet',
    reason: "named as a wallet's seed phrase",
    name: /^(my[-_ ]?)?(seed|recovery|mnemonic|backup)[-_ ]?(phrase|words|seed)?(\.(txt|md|docx?|odt|rtf|pdf))$/,
    of: 'file',
  },
  {
    rule: 'credentials',
    reason: 'a file of passwords or tokens',
    name: /^(\.netrc|_netrc|\.pgpass|pgpass\.conf|\.my\.cnf|\.mylogin\.cnf|\.pypirc|\.htpasswd|\.git-credentials|\.dockercfg|\.dockerconfigjson|\.s3cfg|\.boto|\.npmrc|\.yarnrc(\.yml)?|\.gem|\.cargo-credentials|\.vault-token|\.msmtprc|\.fetchmailrc|\.pam_environment|\.esmtprc|\.rclone\.conf|rclone\.conf|\.tugboat|shadow|gshadow|secrets?\.(ya?ml|json|toml|ini|env)|credentials(\.(json|ya?ml|csv|xml|ini))?|client_secrets?[^/]*\.json|service[-_]account[^/]*\.json|wp-config\.php|terraform\.tfstate(\.backup)?|.*\.tfstate|.*\.tfvars|.*\.rdp|.*\.mobileprovision)$/,
    of: 'file',
  },
  {
    rule: 'history',
    reason: 'the history of a shell or program',
    name: /^\.?(bash|zsh|ash|ksh|fish|tcsh|sh|python|node_repl|psql|mysql|sqlite|rediscli|mongo|irb|gdb|php|lua|scala|ocaml|octave|julia|dbshell)[-_]?history$|^\.history$|^\.lesshst$|^\.viminfo$|^\.wget-hsts$|^consolehost_history\.txt$|^\.recently-used\.xbel$/,
    of: 'any',
  },
  {
    rule: 'backup',
    reason: "an editor's swap or backup file",
    name: /^.+~$|\.(sw[a-p]|un~|bak|backup|orig|rej|save)$|^#.*#$|^\.#.*/,
    of: 'file',
  },
  {
    rule: 'core-dump',
    reason: 'the memory of a program, with all that it knew',
    name: /^(core|core\.\d+|vmcore)$|\.(dmp|mdmp|hprof|heapsnapshot|stackdump|core)$/,
    of: 'file',
  },
  {
    rule: 'litter',
    reason: 'left there by the operating system: it tells of other files and folders',
    name: /^(\.ds_store|thumbs\.db|ehthumbs(_vista)?\.db|desktop\.ini|\.directory|\.localized|icon\r)$|^\._.*/,
    of: 'file',
  },
  {
    rule: 'litter',
    reason: 'a folder of the operating system: it tells of other files and folders',
    name: /^(\$recycle\.bin|system volume information|__macosx|\.trash(es|-\d+)?|\.fseventsd|\.spotlight-v100|\.documentrevisions-v100|\.temporaryitems|lost\+found|found\.\d{3})$/,
    of: 'folder',
  },
  { rule: 'hidden', reason: 'a hidden folder', name: /^\../, of: 'folder' },
  { rule: 'hidden', reason: 'a hidden file', name: /^\../, of: 'file' },
]

/** Hidden names that belong to a published site: RFC 8615, and a convention of site builders (an empty file). */
const MEANT = new Set(['.well-known', '.nojekyll'])

/** What the parts of `path` (relative, `/` between) are known for; the last part is a file. At most one finding for each part. */
export function judgePath(path: string): readonly Placed[] {
  const parts = path.split('/').filter((part) => part !== '')
  return parts.flatMap((part, at) => {
    const found = judgeName(part, at === parts.length - 1 ? 'file' : 'folder')
    return found === null ? [] : [{ ...found, where: parts.slice(0, at + 1).join('/') }]
  })
}

/** What one name is known for, or `null`. */
export function judgeName(name: string, kind: 'file' | 'folder'): Omit<Placed, 'where'> | null {
  const lower = name.toLowerCase()
  if (MEANT.has(lower)) return null
  const found = NAME_RULES.find((rule) => (rule.of === 'any' || rule.of === kind) && rule.name.test(lower))
  return found === undefined ? null : { rule: found.rule, severity: 'refused', reason: found.reason }
}
