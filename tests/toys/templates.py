"""Chat templates that behave as those of known families do: roles, tags, order and quirks, in words of our own."""

QWEN2 = """\
{%- if messages[0].role == 'system' -%}
    {%- set told = messages[0].content -%}
{%- else -%}
    {%- set told = 'Be helpful.' -%}
{%- endif -%}
{{- '<|im_start|>system\\n' + told -}}
{%- if tools -%}
    {{- '\\n\\n# Tools\\n\\nThese functions may be called:\\n<tools>' -}}
    {%- for tool in tools -%}{{- '\\n' + (tool | tojson) -}}{%- endfor -%}
    {{- '\\n</tools>\\n\\nA call is JSON within tags:\\n<tool_call>\\n{"name": <name>, "arguments": <object>}\\n' -}}
    {{- '</tool_call>' -}}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- for message in messages -%}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) -%}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
    {%- elif message.role == 'assistant' -%}
        {{- '<|im_start|>assistant' -}}
        {%- if message.content or not message.tool_calls -%}{{- '\\n' + message.content -}}{%- endif -%}
        {%- for call in message.tool_calls or [] -%}
            {{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' -}}
            {{- (call.function.arguments | tojson) + '}\\n</tool_call>' -}}
        {%- endfor -%}
        {{- '<|im_end|>\\n' -}}
    {%- elif message.role == 'tool' -%}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}{{- '<|im_start|>user' -}}{%- endif -%}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' -}}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}{{- '<|im_end|>\\n' -}}{%- endif -%}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""Qwen2.5: results come as a user's turn in tags, and reasoning is not known."""

QWEN3 = """\
{%- if tools -%}
    {{- '<|im_start|>system\\n' -}}
    {%- if messages[0].role == 'system' -%}{{- messages[0].content + '\\n\\n' -}}{%- endif -%}
    {{- '# Tools\\n\\nThese functions may be called:\\n<tools>' -}}
    {%- for tool in tools -%}{{- '\\n' + (tool | tojson) -}}{%- endfor -%}
    {{- '\\n</tools>\\n\\nA call is JSON within tags:\\n<tool_call>\\n{"name": <name>, "arguments": <object>}\\n' -}}
    {{- '</tool_call><|im_end|>\\n' -}}
{%- elif messages[0].role == 'system' -%}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' -}}
{%- endif -%}
{%- set seen = namespace(query=-1) -%}
{%- for message in messages -%}
    {%- if message.role == 'user' -%}{%- set seen.query = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) -%}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
    {%- elif message.role == 'assistant' -%}
        {%- set said, thought = message.content, '' -%}
        {%- if '</think>' in said -%}
            {%- set thought = said.split('</think>')[0].split('<think>')[-1].strip('\\n') -%}
            {%- set said = said.split('</think>')[-1].lstrip('\\n') -%}
        {%- endif -%}
        {{- '<|im_start|>assistant\\n' -}}
        {%- if loop.index0 > seen.query and (loop.last or thought) -%}
            {{- '<think>\\n' + thought + '\\n</think>\\n\\n' -}}
        {%- endif -%}
        {{- said -}}
        {%- for call in message.tool_calls or [] -%}
            {%- if said or not loop.first -%}{{- '\\n' -}}{%- endif -%}
            {{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' -}}
            {{- (call.function.arguments | tojson) + '}\\n</tool_call>' -}}
        {%- endfor -%}
        {{- '<|im_end|>\\n' -}}
    {%- elif message.role == 'tool' -%}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}{{- '<|im_start|>user' -}}{%- endif -%}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' -}}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}{{- '<|im_end|>\\n' -}}{%- endif -%}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
    {%- if enable_thinking is defined and not enable_thinking -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}
{%- endif -%}
"""
"""Qwen3: as Qwen2.5, and reasoning stays only in the turns that follow the last question."""

QWEN3_THINKING = QWEN3.replace(
    "{{- '<|im_start|>assistant\\n' -}}\n    {%- if enable_thinking",
    "{{- '<|im_start|>assistant\\n<think>\\n' -}}\n    {%- if false and enable_thinking",
)
"""Qwen3's thinking models: the prompt opens the reasoning, so that the model only closes it."""

FORGETFUL = QWEN3.replace("loop.index0 > seen.query and (loop.last or thought)", "loop.last")
"""Drops the reasoning of every turn that is past, as DeepSeek-R1's do."""

LLAMA3 = """\
{{- bos_token -}}
{%- if not date_string is defined -%}
    {%- if strftime_now is defined -%}
        {%- set date_string = strftime_now('%d %b %Y') -%}
    {%- else -%}
        {%- set date_string = '26 Jul 2024' -%}
    {%- endif -%}
{%- endif -%}
{%- set told = '' -%}
{%- if messages[0].role == 'system' -%}
    {%- set told = messages[0].content | trim -%}
    {%- set messages = messages[1:] -%}
{%- endif -%}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' -}}
{%- if tools is not none -%}{{- 'Environment: ipython\\n' -}}{%- endif -%}
{{- 'Today Date: ' + date_string + '\\n\\n' + told + '<|eot_id|>' -}}
{%- if tools is not none -%}
    {%- set asked = messages[0].content | trim -%}
    {%- set messages = messages[1:] -%}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\nA call is {"name": the name, "parameters": an object}.\\n\\n' -}}
    {%- for tool in tools -%}{{- (tool | tojson(indent=4)) + '\\n\\n' -}}{%- endfor -%}
    {{- asked + '<|eot_id|>' -}}
{%- endif -%}
{%- for message in messages -%}
    {%- if message.role in ('tool', 'ipython') -%}
        {{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' -}}
        {%- if message.content is mapping or message.content is iterable -%}
            {{- message.content | tojson -}}
        {%- else -%}
            {{- message.content -}}
        {%- endif -%}
        {{- '<|eot_id|>' -}}
    {%- elif 'tool_calls' in message -%}
        {%- if message.tool_calls | length != 1 -%}{{- raise_exception('One call at a time.') -}}{%- endif -%}
        {%- set call = message.tool_calls[0].function -%}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + call.name + '", "parameters": ' -}}
        {{- (call.arguments | tojson) + '}<|eot_id|>' -}}
    {%- else -%}
        {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}
"""
"""Llama 3.1 to 3.3: the tools stand in the user's message, a call is a turn of bare JSON, a result is a JSON string of
the role ipython, and the day is named unless the caller names one."""

NAMING = QWEN2.replace("<tool_response>\\n' + message", "<tool_response name=\"' + message.name + '\">\\n' + message")
"""As Qwen2.5, and a result says which tool gave it."""

COMPACT = QWEN2.replace(
    """{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' -}}
            {{- (call.function.arguments | tojson) + '}\\n</tool_call>' -}}""",
    """{{- '\\n<tool_call>{"arguments":' + (call.function.arguments | tojson(separators=(',', ':'))) -}}
            {{- ',"name":"' + call.function.name + '"}</tool_call>' -}}""",
)
"""As Qwen2.5, and a call is JSON without spaces that ends with the name."""
