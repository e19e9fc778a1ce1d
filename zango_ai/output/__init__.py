"""Read a model's answer as JSON, validate it, and convert it to the caller's type.

===================  ==================================================================================
``json_reader``      the JSON value in an answer
``json_limits``      how deeply JSON may be nested, and how long its numbers may be
``json_schema``      is a JSON schema usable; is an answer valid under it
``strict_mode``      a JSON schema in the form that OpenAI's strict mode requires
``optional_nulls``   nulls in a strict answer that stand for absent optional properties
``output_type``      ``run(output_type=...)``: a Python type or a JSON schema
===================  ==================================================================================
"""
