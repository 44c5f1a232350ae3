/** Public face of the key book. Files: DIR/keys/NAME and DIR/keys/NAME.PART, mode 0600. */
export { isKeyName, KEY_PART_BYTES_MAX, KEY_PARTS, KEYS_MAX, type KeyBook, type KeyEntry, type KeyPart } from './book.ts'
export { isKeyFile, isKeyPartFile, openKeyBook } from './folder.ts'
