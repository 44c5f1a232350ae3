/**
 * Every error code, with its cause and what a person can do about it. One line each; keep them sorted by area.
 * A code is never reused for another meaning.
 */
export const ERROR_CODES = {
  ADDRESS_BAD: 'The text is not a Gyre address (56 base32 characters with a checksum). Copy it again, whole.',
  API_BAD_REQUEST: 'The request is malformed. The message says which part, and what it takes.',
  API_FORBIDDEN:
    'The request came from a foreign web page or under a foreign host name. Use the address that the node was started with.',
  API_NOT_FOUND:
    'It was never there, is gone, or is spelled otherwise: the commands and requests with `list` show what there is.',
  API_NO_ROUTE: 'There is nothing at this path of the API. The README lists what there is.',
  API_SCOPE: 'The token may not do this. Use one with the scope that the message names: `gyre tokens add NAME --scope SCOPE`.',
  API_TOKEN_BAD:
    'The token file cannot be used. Remove the one that the message names and start the node again: it makes a new one.',
  API_TOKEN_EXISTS: 'Take another name, or remove that token first: `gyre tokens remove NAME`.',
  API_TOKEN_LIMIT: 'Remove tokens that are not used: `gyre tokens list`, `gyre tokens remove NAME`.',
  API_UNAUTHORISED: 'The token is missing or wrong. Send `Authorization: Bearer` with the content of DIR/api.token.',
  BACKUP_DAMAGED: 'The file is no whole backup of this version. Use another copy of it; nothing was taken from this one.',
  BACKUP_EXISTS:
    'Import into an empty folder (--data-dir), or give --replace to put what the backup holds in the place of what is there.',
  BACKUP_PASSPHRASE: 'Give the passphrase with which the backup was made, exactly. Nothing was changed.',
  CELL_BAD_LENGTH: 'A cell or cell body of another length than the protocol has. The link or circuit it came on is closed.',
  CELL_LOST: 'A cell got lost on its way, or its answer did. What it belonged to is asked again; nothing is to be done.',
  CIRCUIT_ENDED: 'The loop ended while it was in use. The work moves to another loop; nothing is to be done.',
  CLOCK_REFUSED: 'Leave the clock out, or ask for "swift"; the clock of the node is set when it is started (`--clock`).',
  CONFIG_BAD: 'A configuration value or key is wrong. The message names it and the values it takes.',
  FILE_FAILED: 'A file could not be read or written. The message names it and the cause; check path, rights and free space.',
  LINK_DUPLICATE: 'There is a link with that node already, or one is being opened. That one is used; nothing is to be done.',
  LINK_LIMIT: 'This node has as many links as it may. Raise the limit, or close some.',
  LINK_LISTEN: 'This node cannot listen at an address: it is in use, not of this machine, or not permitted. Change `listen`.',
  LINK_UNREACHABLE: 'No address of the node could be reached. It may be offline, or a firewall is between.',
  LINK_WRONG_PEER: 'Another node answered at the address. Its descriptor or the bootstrap address is out of date.',
  LOOP_FAILED: 'A loop could not be built: members did not pass the set-up on in time. Another path is tried by itself.',
  LOOP_LIMIT:
    'This node uses as many loops at once as it may. Wait until other work is done; under the clock fixed, give it more (fixed-loops).',
  LOOP_NO_PATH:
    "The links that are up form no loop. `gyre peers` shows this node's neighbours; wait, or add bootstrap addresses.",
  TIMEOUT: 'No answer came in time. Try again; `gyre status` shows whether this node has neighbours and loops.',
  CONTENT_DAMAGED: 'Bytes failed verification and no other holder had right ones. Nothing wrong was delivered. Try again later.',
  CONTENT_NOT_FOUND: 'Nobody that should hold it has it: the address is wrong, it expired, or too many holders are away.',
  PATH_NOT_FOUND: 'The address is right, the path is not: look at how it is spelled, capitals too. The first page is at /.',
  NETWORK_TOO_SMALL:
    'Fewer than 4 nodes are known: no loop can be built. Check the bootstrap addresses and the date of this machine, or start more nodes.',
  NODE_NOT_READY: 'Wait a little; `gyre status` shows how far it is.',
  NODE_UNREACHABLE: 'Start a node with `gyre start`, or name the right one with --data-dir or --api.',
  PORT_TAKEN: 'Another program listens on this address. Choose another with --api, --proxy, --socks or --listen.',
  PROXY_BAD_REQUEST: 'The request to the proxy is malformed. The message says which part, and what it takes.',
  PROXY_REFUSED:
    'The proxies reach http://ADDRESS.gyre/ and http://NAME.gyre/, and nothing else: they never connect to the open internet.',
  PRECONDITION_FAILED: 'The publication is not the one that If-Match names. Ask again without it, or for the right address.',
  PUBLISH_FAILED: 'Too few holders took their shares. Check `gyre status`, then publish again.',
  RANGE_UNSATISFIABLE: 'The Range lies outside the publication. Content-Range of the answer gives its length.',
  API_CONFIRM:
    'What would be published holds things that are usually private. Look at the list; send again with the confirmation to publish all the same.',
  API_RATE: 'Too many requests in a short time. Wait as long as Retry-After says.',
  GUARD_REFUSED:
    'Remove them, name each one with --allow PATH to publish it all the same, or give --strip for metadata of JPEG and PNG.',
  KEEP_LIMIT: 'This node keeps as many publications as it may. `gyre kept` lists them, `gyre unkeep ADDRESS` lets one go.',
  KEEP_UNKNOWN: 'This node does not keep that. `gyre kept` lists what it keeps; sites of its own keys are always kept.',
  KEY_BAD: 'The key of that name is damaged, missing, or its name is not one. Names are lower case letters, digits and hyphens.',
  NAME_LIMIT: 'The book of names is full. Remove names that you do not use.',
  NAME_UNKNOWN: 'There is no such name in the book. `gyre names list` shows those that there are; an address always works.',
  RECORD_DAMAGED: 'Holders had records for this address, and none was right. Nothing wrong was used. Try again later.',
  RECORD_NOT_FOUND: 'Nobody has a current record of this address: it is wrong, or its owner has been away for too long.',
  RECORD_STALE: 'Holders gave only records older than one that this node has seen before. They were refused. Try again later.',
  SERVICE_BAD_ANSWER: 'The service broke off, or what it sent is not HTTP. If it speaks something else, use CONNECT or SOCKS.',
  RENDEZVOUS_REFUSED:
    'The node at which two loops were to meet took no more, or two met there already. Others are drawn by themselves.',
  SERVICE_BUSY: 'The service has as much to do as it can, or asks for more work than this node does. Try again later.',
  SERVICE_LIMIT: 'This node hosts as many services or ports as it may. Remove one.',
  SERVICE_REFUSED: 'The service does not offer this port, or what it forwards to does not answer.',
  SERVICE_UNREACHABLE: 'The service does not answer: it is offline, or no loop to it could be used. Try again later.',
  SITE_BAD: 'The files cannot be a site: a path is malformed or stands there twice, or there are too many. The message names it.',
  SITE_BUSY: 'The site, or as many sites as this node does at once, are being published already. Wait until that is over.',
  SETUP_BAD_MEMBER: 'A node publishes onion keys that cannot be used. It is left out; nothing is to be done.',
  SETUP_REFUSED: 'This node set up more loops than one onion key allows. New keys come within the hour; nothing is to be done.',
  STORE_REFUSED: 'A store did not take a share: it is full, or the request was wrong.',
  STORE_UNREACHABLE: 'No loop with the store could be used. The work moves to another holder.',
  STORE_UNUSABLE:
    'The folder of the store cannot be used. Check that it is writable and on a sound disk; if it is damaged, remove it: others hold copies.',
  WORK_TOO_HARD: 'More proof of work was asked than this node does. The peer is overloaded or hostile; try again later.',
  DATA_DIR_LOCKED: 'Another node runs with this data folder. Stop it, or give this one a folder of its own.',
  DATA_DIR_UNUSABLE: 'The data folder cannot be made, read or written. Check its path, owner and free space.',
  IDENTITY_DAMAGED:
    'The identity file in the data folder is damaged. Restore it from a backup; only if there is none, remove it: the node gets a new identity.',
  INTERNAL: 'A fault of the program itself. Please report it with the message and the version.',
} as const satisfies Record<string, string>

export type ErrorCode = keyof typeof ERROR_CODES

/** The remedy for a code, as shown to people. */
export function remedyOf(code: ErrorCode): string {
  return ERROR_CODES[code]
}
